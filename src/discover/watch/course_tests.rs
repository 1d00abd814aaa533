use proptest::prelude::*;

use super::*;

const MAX: Duration = Duration::from_secs(30);

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Failure,
    Answer { known: usize, gone: usize, found: usize, is_certain: bool },
}

fn events() -> impl Strategy<Value = Vec<(u64, Event)>> {
    let answer = (0_usize..5, 0_usize..5, 0_usize..3, prop::bool::weighted(0.1)).prop_map(
        |(known, gone, found, is_certain)| {
            let gone = if found == 0 { known } else { gone.min(known) };
            Event::Answer { known, gone, found, is_certain }
        },
    );
    let event = prop_oneof![1 => Just(Event::Failure), 4 => answer];
    prop::collection::vec((0_u64..8, event), 1..40)
}

fn config() -> impl Strategy<Value = WatchConfig> {
    (0_u64..12, 0_u64..12, 0_u32..=4).prop_map(|(empty, removal, fourths)| {
        WatchConfig::default()
            .with_empty_grace(secs(empty))
            .with_removal_grace(secs(removal))
            .with_max_removed(f64::from(fourths) / 4.0)
    })
}

/// Whether an answer is believed, from the whole history: since when each answer was doubtful, failures
/// not counted.
fn is_believed(
    config: &WatchConfig,
    history: &[(u64, Event, bool)],
    now: u64,
    event: Event,
) -> bool {
    let Event::Answer { is_certain, .. } = event else { return false };
    let is_empty = |event| matches!(event, Event::Answer { known: 1.., found: 0, .. });
    let is_thin = |event| match event {
        Event::Answer { known, gone, .. } => gone as f64 > config.max_removed * known as f64,
        Event::Failure => false,
    };
    let has_lasted = |is_so: &dyn Fn(Event) -> bool, grace: Duration| {
        if !is_so(event) {
            return true;
        }
        let answers =
            history.iter().rev().filter(|(_, event, _)| matches!(event, Event::Answer { .. }));
        let streak = answers.take_while(|(_, event, believed)| !believed && is_so(*event));
        let since = streak.last().map_or(now, |(at, ..)| *at);
        secs(now - since) >= grace
    };
    is_certain
        || has_lasted(&is_empty, config.empty_grace) && has_lasted(&is_thin, config.removal_grace)
}

proptest! {
    #[test]
    fn an_answer_is_believed_as_a_naive_model_says(config in config(), events in events()) {
        let start = time::now();
        let mut course = Course::new(config.clone(), None, start);
        let (mut now, mut history) = (0, Vec::new());
        for (wait, event) in events {
            now += wait;
            let at = start + secs(now);
            let expected = is_believed(&config, &history, now, event);
            match event {
                Event::Failure => drop(course.failed(MAX, 0.5, at)),
                Event::Answer { known, gone, found, is_certain } => {
                    let verdict = course.answered(Seen { known, gone, found, is_certain }, at);
                    prop_assert_eq!(verdict == Verdict::Believe, expected, "at {} s", now);
                    if let Verdict::DoubtUntil(due) = verdict {
                        // The same answer then is believed, and no sooner.
                        let again = Seen { known, gone, found, is_certain };
                        let before = due - Duration::from_nanos(1);
                        prop_assert!(due > at);
                        prop_assert_ne!(course.clone().answered(again, before), Verdict::Believe);
                        prop_assert_eq!(course.clone().answered(again, due), Verdict::Believe);
                    }
                }
            }
            history.push((now, event, expected));
        }
    }

    #[test]
    fn a_set_is_too_old_when_no_answer_came_for_so_long(
        events in prop::collection::vec((0_u64..8, any::<bool>()), 1..40),
        half in 1_u64..10,
        before in prop::option::of(0_u64..=25),
    ) {
        let start = time::now();
        let config = WatchConfig::default().with_max_stale(secs(2 * half));
        let (mut now, mut answered, mut expired) = (25, before, false);
        let mut course = Course::new(config, before.map(|at| start + secs(at)), start + secs(now));
        let (began, mut has_looked) = (now, false);
        for (wait, is_answer) in events {
            now += wait;
            let at = start + secs(now);
            let is_old = answered.is_some_and(|answered| now - answered >= 2 * half);
            // At its begin, a watch has the time to look once.
            let due = is_old && (has_looked || now - began >= half) && !expired;
            prop_assert_eq!(course.expire(at), due);
            (expired, has_looked) = (expired || due, true);
            prop_assert!(course.asks_anew_at() < course.expires_at() || answered.is_none() || expired);
            if is_answer {
                course.confirmed(at);
                (answered, expired) = (Some(now), false);
            } else {
                course.failed(MAX, 0.0, at);
            }
        }
    }

    #[test]
    fn waits_grow_until_a_minute_without_a_failure(
        events in prop::collection::vec((0_u64..90, any::<bool>()), 1..60),
    ) {
        let start = time::now();
        let mut course = Course::new(WatchConfig::default(), None, start);
        let (mut now, mut in_a_row, mut well) = (0, 0_u32, None);
        for (wait, is_answer) in events {
            now += wait;
            let at = start + secs(now);
            if is_answer {
                course.confirmed(at);
                well = well.or(Some(now));
                continue;
            }
            in_a_row = if well.is_some_and(|well| now - well >= 60) { 1 } else { in_a_row + 1 };
            well = None;
            let most = Duration::from_millis(250 << (in_a_row - 1).min(7)).min(secs(30));
            prop_assert!(course.clone().failed(MAX, 0.999_999, at) <= most);
            prop_assert!(course.clone().failed(MAX, 0.999_999, at) > most / 2);
            prop_assert_eq!(course.failed(MAX, 0.0, at), Duration::ZERO);
        }
    }
}
