//! Ways that lead back to where they began.

/// Of `count` places, each with one way on or none: which of them lie on a circle.
pub(crate) fn on_circles(count: usize, next: impl Fn(usize) -> Option<usize>) -> Vec<bool> {
    let mut on_circle = vec![false; count];
    // The beginning of the walk that came by first.
    let mut seen_from = vec![None; count];
    for start in 0..count {
        let (mut at, mut way) = (Some(start), Vec::new());
        while let Some(place) = at.filter(|&place| seen_from.get(place) == Some(&None)) {
            seen_from[place] = Some(start);
            way.push(place);
            at = next(place);
        }
        // It came back to itself.
        if let Some(place) = at.filter(|&place| seen_from.get(place) == Some(&Some(start))) {
            let circle = way.iter().skip_while(|&&on_the_way| on_the_way != place);
            circle.for_each(|&on_the_way| on_circle[on_the_way] = true);
        }
    }
    on_circle
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_on_a_circle_is_found() {
        let of = |ways: &[Option<usize>]| on_circles(ways.len(), |at| ways[at]);
        assert_eq!(of(&[]), Vec::<bool>::new());
        assert_eq!(of(&[Some(0), None]), [true, false]);
        // 0 leads into a circle of 1, 2 and 3; 4 leads to 0, and 5 nowhere that is.
        let ways = [Some(1), Some(2), Some(3), Some(1), Some(0), Some(9)];
        assert_eq!(of(&ways), [false, true, true, true, false, false]);
        let chain: Vec<_> = (1..100_000).map(Some).chain([None]).collect();
        assert!(!of(&chain).contains(&true));
        let circle: Vec<_> = (1..100_000).map(Some).chain([Some(0)]).collect();
        assert!(!of(&circle).contains(&false));
    }
}
