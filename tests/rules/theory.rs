//! Closed forms, and draws that come near to them.

use tower_upstream::rules::{
    Rng, fewest,
    theory::{bounded_load, c3_score, fullest_bin, probe_reuse, time_in_system},
};

use crate::*;

#[test]
fn theory_and_papers() {
    let mut run = 0;
    for case in cases(include_str!("../vectors/theory_and_papers.json")) {
        run += 1;
        let (name, expect) = (text(&case["name"]), &case["expect"]);
        match text(&case["kind"]) {
            "balls_bins" => {
                let n = float(&case["n"]);
                let given = case["d"].as_u64().map(|d| (d as u32, &case["leading_term"]));
                let one_and_two =
                    [(1, &case["one_choice_leading_term"]), (2, &case["two_choice_leading_term"])];
                for (d, term) in given.map_or(one_and_two.to_vec(), |given| vec![given]) {
                    assert!(near(fullest_bin(n, d), float(term), 1e-4), "{name} {d}");
                    let (drawn, term) = (fullest_drawn(n as usize, d), float(term));
                    assert!(term - 1.0 < drawn && drawn < 2.0 * term + 2.0, "{name} {d}: {drawn}");
                }
            }
            "supermarket" => {
                for (d, time) in [(1, &case["one_choice"]), (2, &case["two_choices"])] {
                    assert!(
                        near(time_in_system(float(&case["rho"]), d), float(time), 1e-6),
                        "{name} {d}"
                    );
                }
            }
            "prequal_reuse" => {
                let of = |key: &str| float(&case[key]);
                let reuse = probe_reuse(
                    of("pool"),
                    of("replicas"),
                    of("r_probe"),
                    of("r_remove"),
                    of("delta"),
                );
                assert!(near(reuse, float(expect), 1e-6), "{name}: {reuse}");
            }
            "constants" => {
                // Of a strategy that is not here yet; the budget holds for them.
                let of = |key: &str| float(&expect[key]);
                assert!(near(of("q_rif"), 2.0_f64.powf(-0.25), 1e-3));
                assert!(
                    probe_reuse(of("pool"), 100.0, of("r_probe"), of("r_remove"), of("delta"))
                        < 2.0
                );
            }
            "capacity" => {
                for case in list(&case["cases"]) {
                    let capacity =
                        bounded_load(number(&case["m"]), number(&case["n"]), float(&case["eps"]));
                    assert_eq!(capacity, number(&case["expect"]), "{case}");
                }
            }
            "average_load" => {
                let (keys, servers) = (number(&case["partitions"]), number(&case["members"]));
                let average = bounded_load(keys, servers, float(&case["load"]) - 1.0);
                assert_eq!(average, number(expect), "{name}");
            }
            "formula" => {
                assert_eq!(name, "C3 score");
                let (response, rate, queue) = (5.0, 0.5, 1.0 + 2.0 * 3.0 + 4.0);
                assert_eq!(c3_score(response, rate, queue), 5.0 - 2.0 + 11.0_f64.powi(3) * 2.0);
            }
            kind => panic!("unknown kind {kind}"),
        }
    }
    assert_eq!(run, 21);
}

/// The fullest of `n` bins after `n` draws.
fn fullest_drawn(n: usize, choices: u32) -> f64 {
    let (mut bins, mut rng) = (vec![0_u32; n], Rng::new(11));
    for _ in 0..n {
        let draws: Vec<_> = (0..choices).map(|_| rng.index(n).unwrap()).collect();
        let bin = fewest(draws, |bin| f64::from(bins[bin])).unwrap();
        bins[bin] += 1;
    }
    f64::from(*bins.iter().max().unwrap())
}
