//! What a member weighs: by discovery or an operator, and by its slow start.

#[derive(Debug, Default)]
pub(super) struct Weighing {
    pub(super) discovered: u32,
    /// What an operator says instead.
    pub(super) own: Option<u32>,
    /// What a slow start leaves of it, in percent; 0 in a set without one.
    pub(super) warmth: u32,
}

impl Weighing {
    /// Whatever a slow start leaves of it.
    pub(super) fn nominal(&self) -> u32 {
        self.own.unwrap_or(self.discovered)
    }

    pub(super) fn weight(&self) -> u32 {
        match (self.nominal(), self.warmth) {
            (nominal, 0) | (nominal @ 0, _) => nominal,
            (nominal, percent) => nominal.saturating_mul(percent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_s_weight_counts_and_a_slow_start_scales_either() {
        let mut of = Weighing { discovered: 4, own: Some(7), warmth: 0 };
        assert_eq!(of.weight(), 7);
        of.warmth = 10;
        assert_eq!((of.weight(), of.nominal()), (70, 7));
        of.own = None;
        assert_eq!((of.weight(), of.nominal()), (40, 4));
        of.own = Some(0);
        assert_eq!(of.weight(), 0);
    }
}
