//! A naive model: every call with its time and generation, all rules by counting anew.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
struct Model {
    config: CircuitBreakerConfig,
    state: CircuitState,
    generation: u64,
    /// Calls of this generation: when, failed, slow.
    calls: Vec<(u64, bool, bool)>,
    in_a_row: usize,
    openings: i32,
    until: u64,
    moved: u64,
    out: usize,
    /// Calls of this generation that hang.
    overdue: usize,
}

impl Model {
    fn turn(&mut self, state: CircuitState) {
        (self.state, self.out, self.overdue, self.in_a_row) = (state, 0, 0, 0);
        self.generation += 1;
        self.calls.clear();
    }

    fn open(&mut self, now: u64, asked: u64) {
        let grown =
            self.config.open_for.as_secs_f64() * self.config.open_growth.powi(self.openings);
        let own = (grown.min(self.config.max_open_for.as_secs_f64()) * 1e9) as u64;
        self.until = now + own.max(asked.min(self.config.max_open_for.as_nanos() as u64));
        self.openings += 1;
        self.turn(CircuitState::Open);
    }

    fn inside(&self, now: u64) -> Vec<(u64, bool, bool)> {
        match self.config.window {
            Window::Calls(size) => {
                let from = self.calls.len().saturating_sub(size as usize);
                self.calls[from..].to_vec()
            }
            Window::Time(time) => {
                let bucket = time.as_nanos() as u64 / 10;
                let inside = |call: &&(u64, bool, bool)| call.0 / bucket + 10 > now / bucket;
                self.calls.iter().filter(inside).copied().collect()
            }
        }
    }

    fn tick(&mut self, now: u64) {
        let half_open_for = self.config.half_open_for.as_nanos() as u64;
        match self.state {
            CircuitState::Open if now >= self.until => self.turn(CircuitState::HalfOpen),
            CircuitState::HalfOpen if self.out > 0 && now >= self.moved + half_open_for => {
                self.open(now, 0);
            }
            _ => {}
        }
    }

    fn admit(&mut self, now: u64) -> Option<u64> {
        self.tick(now);
        match self.state {
            CircuitState::Closed => Some(self.generation),
            CircuitState::HalfOpen => {
                let all = (self.config.successes + self.config.probe_failures) as usize;
                let free = self.out < self.config.probes as usize;
                (free && self.out + self.calls.len() < all).then(|| {
                    if self.out == 0 {
                        self.moved = now;
                    }
                    self.out += 1;
                    self.generation
                })
            }
            _ => None,
        }
    }

    fn end(&mut self, generation: u64, ended: Option<Ended>, now: u64) {
        if generation != self.generation {
            return;
        }
        self.out = self.out.saturating_sub(1);
        let Some(Ended { failed, slow, retry_after }) = ended else {
            return;
        };
        self.moved = now;
        let asked = retry_after.map_or(0, |asked| asked.as_nanos() as u64);
        self.calls.push((now, failed, slow));
        self.in_a_row = if failed { self.in_a_row + 1 } else { 0 };
        self.decide(asked, now);
    }

    /// A call that goes on is counted with its head.
    fn goes_on(&mut self, generation: u64, slow: bool, now: u64) {
        self.end(generation, Some(Ended { slow, ..GOOD }), now);
    }

    /// And only if it fails there is more to say.
    fn end_of_body(&mut self, generation: u64, ended: Option<Ended>, now: u64) {
        let Some(Ended { failed: true, retry_after, .. }) = ended else {
            return;
        };
        if generation != self.generation || self.state == CircuitState::Open {
            return;
        }
        self.moved = now;
        let is_half_open = self.state == CircuitState::HalfOpen;
        let inside = if is_half_open { self.calls.clone() } else { self.inside(now) };
        let first = self.calls.len() - inside.len();
        // Of the trial any good one; else one that was slow.
        let stands = |call: &(u64, bool, bool)| !call.1 && (call.2 || is_half_open);
        match inside.iter().rposition(stands) {
            Some(index) => self.calls[first + index].1 = true,
            None => self.calls.push((now, true, false)),
        }
        self.in_a_row += 1;
        self.decide(retry_after.map_or(0, |asked| asked.as_nanos() as u64), now);
    }

    fn decide(&mut self, asked: u64, now: u64) {
        let config = &self.config;
        if self.state == CircuitState::HalfOpen {
            let bad = self.calls.iter().filter(|call| call.1).count();
            let slow = self.calls.iter().filter(|call| call.2).count() as f64;
            let is_slow = |ratio| slow / self.calls.len() as f64 >= ratio;
            if bad > config.probe_failures as usize {
                self.open(now, asked);
            } else if self.calls.len() - bad >= config.successes as usize {
                if config.slow_ratio.is_some_and(is_slow) {
                    self.open(now, asked);
                } else {
                    self.openings = 0;
                    self.turn(CircuitState::Closed);
                }
            }
            return;
        }
        self.evaluate(asked, now);
    }

    /// One more call hangs, and somebody looks.
    fn hang(&mut self, now: u64) {
        self.overdue += 1;
        self.evaluate(0, now);
    }

    fn evaluate(&mut self, asked: u64, now: u64) {
        let config = &self.config;
        let in_a_row = self.in_a_row;
        let inside = self.inside(now);
        let calls = inside.len() + self.overdue;
        let share = |part: usize| part as f64 / calls as f64;
        let failed = share(inside.iter().filter(|call| call.1).count());
        let slow = share(inside.iter().filter(|call| call.2).count() + self.overdue);
        let least = match config.window {
            Window::Calls(size) => config.min_calls.clamp(1, size),
            Window::Time(_) => config.min_calls.max(1),
        };
        let by_row = config.failures > 0
            && in_a_row >= config.failures as usize
            && calls.max(in_a_row) >= config.failures_min_calls as usize;
        let by_ratio = calls >= least as usize
            && (config.failure_ratio.is_some_and(|ratio| failed >= ratio)
                || config.slow_ratio.is_some_and(|ratio| slow >= ratio));
        if by_row || by_ratio {
            self.open(now, asked);
        }
    }
}

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
        let mut model = Model {
            config, state: CircuitState::Closed, generation: 0, calls: Vec::new(), openings: 0,
            in_a_row: 0, until: 0, moved: 0, out: 0, overdue: 0,
        };
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
