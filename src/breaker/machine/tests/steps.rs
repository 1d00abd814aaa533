//! Random steps, taken by the machine and by the model.

use proptest::prelude::*;

use super::{model::Model, *};

#[derive(Debug, Clone)]
enum Step {
    Admit,
    End(usize, Option<Ended>),
    /// One of those that are out is overdue now.
    Hang(usize),
    EndHung(usize, Option<Ended>),
    /// The head of one is there: whether it was slow.
    GoesOn(usize, bool),
    EndOfBody(usize, Option<Ended>),
    Pass(u64),
    Reset,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ended = prop_oneof![
        4 => Just(Some(GOOD)),
        1 => Just(Some(Ended { slow: true, ..GOOD })),
        3 => Just(Some(BAD)),
        1 => Just(Some(Ended { slow: true, ..BAD })),
        1 => (0_u64..30).prop_map(|s| Some(Ended { retry_after: Some(Duration::from_secs(s)), ..BAD })),
        1 => Just(None),
    ];
    let end = (any::<usize>(), ended, 0..6);
    let step = prop_oneof![
        7 => Just(Step::Admit),
        8 => end.prop_map(|(index, ended, hung)| match hung {
            0 => Step::EndHung(index, ended.map(|ended| Ended { slow: true, ..ended })),
            1 | 2 => Step::EndOfBody(index, ended),
            _ => Step::End(index, ended),
        }),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(index, slow)| Step::GoesOn(index, slow)),
        2 => any::<usize>().prop_map(Step::Hang),
        3 => (0_u64..4 * SECOND).prop_map(Step::Pass),
        1 => Just(Step::Reset),
    ];
    prop::collection::vec(step, 0..150)
}

fn configs() -> impl Strategy<Value = CircuitBreakerConfig> {
    let window = prop_oneof![
        (1_u32..12).prop_map(Window::Calls),
        (1_u64..12).prop_map(|s| Window::Time(Duration::from_secs(s))),
    ];
    let ratio = || prop::option::of(prop_oneof![Just(0.25), Just(0.5), Just(1.0)]);
    let places = (1_u32..4, 1_u32..4, 0_u32..3);
    (0_u32..5, 0_u32..6, ratio(), ratio(), window, 0_u32..9, places, 1_u64..12).prop_map(
        |(
            failures,
            failures_min_calls,
            failure_ratio,
            slow_ratio,
            window,
            min_calls,
            places,
            half,
        )| {
            CircuitBreakerConfig {
                failures: if failure_ratio.or(slow_ratio).is_none() {
                    failures.max(1)
                } else {
                    failures
                },
                failures_min_calls,
                failure_ratio,
                slow_ratio,
                window,
                min_calls,
                probes: places.0,
                successes: places.1,
                probe_failures: places.2,
                open_for: Duration::from_secs(4),
                max_open_for: Duration::from_secs(10),
                open_jitter: 0.0,
                half_open_for: Duration::from_secs(half),
                ..CircuitBreakerConfig::default()
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_machine_and_the_model_never_differ(config in configs(), steps in steps()) {
        let mut circuit = Circuit::new(config.clone());
        let mut model = Model::new(config);
        let (mut out, mut hung, mut bodies) = (Vec::new(), Vec::new(), Vec::new());
        for step in steps {
            let now = circuit.now;
            match step {
                Step::Admit => {
                    let admitted = circuit.admit();
                    let expected = model.admit(now);
                    prop_assert_eq!(admitted.map(Ticket::tag), expected.map(|generation| Ticket::new(generation).tag()));
                    out.extend(admitted);
                }
                Step::End(index, ended) if !out.is_empty() => {
                    let ticket = out.swap_remove(index % out.len());
                    model.end(ticket.tag() >> 44, ended, now);
                    circuit.ends(ticket, ended);
                    // At a low rate each good call looks at the clock; a window of calls does not
                    // care when anybody looks.
                    let is_timed = matches!(model.config.window, Window::Time(_));
                    if is_timed || index % 3 == 0 {
                        circuit.look();
                    }
                }
                Step::EndHung(index, ended) if !hung.is_empty() => {
                    let ticket: Ticket = hung.swap_remove(index % hung.len());
                    // Good calls that are held back count before it: its end changes their share.
                    circuit.look();
                    if ticket.is_of(model.generation) {
                        circuit.overdue -= 1;
                        model.overdue -= 1;
                    }
                    model.end(ticket.tag() >> 44, ended, now);
                    circuit.ends(ticket, ended);
                }
                // Only where it matters whether it is slow.
                Step::Hang(index) if !out.is_empty() && model.config.slow_ratio.is_some() => {
                    let ticket = out[index % out.len()];
                    if model.state == CircuitState::Closed && ticket.is_of(model.generation) {
                        hung.push(out.swap_remove(index % out.len()));
                        circuit.overdue += 1;
                        model.hang(now);
                        circuit.state();
                    }
                }
                // As a circuit does: others are counted when they end.
                Step::GoesOn(index, slow) if !out.is_empty() => {
                    let ticket = out.swap_remove(index % out.len());
                    if slow || ticket.is_probe() {
                        model.goes_on(ticket.tag() >> 44, slow, now);
                        bodies.push(circuit.goes_on(ticket, slow));
                    } else {
                        out.push(ticket);
                    }
                }
                Step::EndOfBody(index, ended) if !bodies.is_empty() => {
                    let ticket: Ticket = bodies.swap_remove(index % bodies.len());
                    model.end_of_body(ticket.tag() >> 44, ended, now);
                    circuit.ends(ticket, ended);
                }
                Step::End(..) | Step::EndHung(..) | Step::Hang(_) => {}
                Step::GoesOn(..) | Step::EndOfBody(..) => {}
                Step::Pass(nanos) => circuit.now += nanos,
                Step::Reset => {
                    circuit.apply(Machine::reset);
                    model.openings = 0;
                    model.turn(CircuitState::Closed);
                }
            }
            prop_assert_eq!(circuit.machine.state(), model.state);
            prop_assert_eq!(circuit.machine.generation(), model.generation);
            if model.state == CircuitState::Open {
                prop_assert_eq!(circuit.machine.until(), model.until);
            }
        }
    }
}

proptest! {
    /// It is late then, for as long as the clock was put back; but nothing is lost or overflows.
    #[test]
    fn a_clock_that_goes_back_harms_nothing(
        config in configs(),
        steps in prop::collection::vec((0_u64..100 * SECOND, any::<bool>()), 0..60),
    ) {
        let mut circuit = Circuit::new(config);
        let mut last = 0;
        for (now, is_good) in steps {
            circuit.now = now;
            last = last.max(now);
            circuit.call(Some(if is_good { GOOD } else { BAD }));
            circuit.look();
            let tally = circuit.tally();
            prop_assert!(tally.failures <= tally.calls && tally.calls <= 60);
        }
        circuit.now = last + 10 * SECOND;
        prop_assert_ne!(circuit.state(), CircuitState::Open);
        circuit.now += 10 * SECOND;
        prop_assert!(circuit.call(Some(GOOD)));
    }
}
