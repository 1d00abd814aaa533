use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::endpoint::Endpoint;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn instance(id: &str, weight: u32) -> Instance {
    let endpoint = Endpoint::new("a:1").unwrap().with_key(id).with_weight(weight);
    Instance::new("tax", endpoint).unwrap()
}

fn course() -> Course {
    let pace = Pace { keep_alive_every: Some(secs(10)), max_backoff: secs(30) };
    Course::new(pace)
}

fn failure() -> Error {
    Error::unsent("no leader")
}

fn put_of(step: Step) -> Ticket {
    match step {
        Step::Put(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_instance_is_put_kept_alive_and_removed() {
    let (mut course, now) = (course(), time::now());
    assert_eq!(course.next(now), Step::Done);
    let number = course.announce(instance("1", 1)).unwrap();
    let ticket = put_of(course.next(now));
    course.put(&ticket, Ok(()), 1.0, now);
    assert_eq!(course.next(now), Step::Wait(Some(now + secs(10))));
    let kept = Step::KeepAlive(vec![ticket.instance.clone()]);
    assert_eq!(course.next(now + secs(10)), kept);
    course.kept(Ok(Kept::Alive), 0.0, now + secs(10));
    assert_eq!(course.next(now + secs(10)), Step::Wait(Some(now + secs(19))));
    course.withdraw(number, ticket.instance.shared_id(), now + secs(11));
    assert_eq!(course.next(now + secs(11)), Step::Remove(ticket.clone()));
    assert!(!course.is_gone(number, "1"));
    course.removed(&ticket, Ok(()), 0.0, now + secs(11));
    assert!(!course.is_gone(number, "1"), "its session is there");
    assert_eq!(course.next(now + secs(11)), Step::End);
    course.lose();
    assert!(course.is_gone(number, "1"));
    assert_eq!(course.next(now + secs(11)), Step::Done);
}

#[test]
fn a_lost_session_puts_all_again_at_once() {
    let (mut course, now) = (course(), time::now());
    for id in ["1", "2"] {
        course.announce(instance(id, 1)).unwrap();
        let ticket = put_of(course.next(now));
        course.put(&ticket, Ok(()), 0.0, now);
    }
    let later = now + secs(10);
    assert!(matches!(course.next(later), Step::KeepAlive(all) if all.len() == 2));
    course.kept(Ok(Kept::Lost), 0.0, later);
    for _ in 0..2 {
        let ticket = put_of(course.next(later));
        course.put(&ticket, Ok(()), 1.0, later);
    }
    assert_eq!(course.next(later), Step::Wait(Some(later + secs(10))));
}

#[test]
fn one_that_is_refused_does_not_hold_up_the_others() {
    let (mut course, now) = (course(), time::now());
    course.announce(instance("1", 1)).unwrap();
    course.announce(instance("2", 1)).unwrap();
    let first = put_of(course.next(now));
    course.put(&first, Err(failure()), 0.999, now);
    let second = put_of(course.next(now));
    assert_eq!((first.instance.id(), second.instance.id()), ("1", "2"));
    course.put(&second, Ok(()), 1.0, now);
    let Step::Wait(Some(until)) = course.next(now) else { panic!() };
    assert!(until <= now + Duration::from_millis(250));
    assert_eq!(put_of(course.next(until)), first);
}

#[test]
fn a_keep_alive_that_fails_comes_again_no_later_than_otherwise() {
    let (mut course, now) = (course(), time::now());
    course.announce(instance("1", 1)).unwrap();
    let ticket = put_of(course.next(now));
    course.put(&ticket, Ok(()), 1.0, now);
    let mut at = now + secs(10);
    for _ in 0..20 {
        assert!(matches!(course.next(at), Step::KeepAlive(_)));
        course.kept(Err(failure()), 0.999, at);
        let Step::Wait(Some(until)) = course.next(at) else { panic!() };
        assert!(until >= at + PAUSE && until <= at + secs(10));
        at = until;
    }
}

#[test]
fn an_id_is_announced_once_and_may_come_back_while_it_leaves() {
    let (mut course, now) = (course(), time::now());
    let first = course.announce(instance("1", 1)).unwrap();
    assert!(course.announce(instance("1", 2)).unwrap_err().to_string().contains("`tax`"));
    let ticket = put_of(course.next(now));
    course.put(&ticket, Ok(()), 0.0, now);
    course.withdraw(first, ticket.instance.shared_id(), now);
    assert!(matches!(course.next(now), Step::Remove(_)));
    let second = course.announce(instance("1", 2)).unwrap();
    // The removal of the first ends after that.
    course.removed(&ticket, Ok(()), 0.0, now);
    assert!(course.is_gone(first, "1") && !course.is_gone(second, "1"));
    assert_eq!(put_of(course.next(now)).instance, course.get(second, "1").unwrap().instance);
    // What the first registration still wants is not for the second.
    course.withdraw(first, ticket.instance.shared_id(), now);
    assert!(!course.get(second, "1").unwrap().is_leaving());
}

#[test]
fn what_was_never_sent_need_not_be_removed() {
    let (mut course, now) = (course(), time::now());
    let number = course.announce(instance("1", 1)).unwrap();
    course.withdraw(number, &"1".into(), now);
    assert_eq!(course.next(now), Step::Done);
}

#[test]
fn a_removal_is_given_up_only_if_nothing_else_is_announced() {
    let (mut course, now) = (course(), time::now());
    let leaving = course.announce(instance("1", 1)).unwrap();
    let staying = course.announce(instance("2", 1)).unwrap();
    for _ in 0..2 {
        let ticket = put_of(course.next(now));
        course.put(&ticket, Ok(()), 0.0, now);
    }
    course.withdraw(leaving, &"1".into(), now);
    let late = now + GIVE_UP;
    course.kept(Ok(Kept::Alive), 1.0, late);
    assert!(matches!(course.next(late), Step::Remove(_)));
    course.withdraw(staying, &"2".into(), late);
    // The second may still be removed.
    assert!(matches!(course.next(late), Step::Remove(ticket) if ticket.instance.id() == "2"));
    course.kept(Ok(Kept::Alive), 1.0, late + GIVE_UP);
    assert_eq!(course.next(late + GIVE_UP), Step::End);
}

#[derive(Debug, Clone)]
enum Event {
    Announce(u8),
    Update(u8),
    Withdraw(u8),
    Pass(u64),
    /// What the calls do from now on.
    Answer(Answer),
}

#[derive(Debug, Clone, Copy)]
enum Answer {
    Good,
    Fails,
    /// It is done, and yet an error.
    DoneAndFails,
    Lost,
    Breaks,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let answer = prop_oneof![
        Just(Answer::Good),
        Just(Answer::Fails),
        Just(Answer::DoneAndFails),
        Just(Answer::Lost),
        Just(Answer::Breaks)
    ];
    let event = prop_oneof![
        (0_u8..3).prop_map(Event::Announce),
        (0_u8..3).prop_map(Event::Update),
        (0_u8..3).prop_map(Event::Withdraw),
        (0_u64..20).prop_map(Event::Pass),
        answer.prop_map(Event::Answer),
    ];
    prop::collection::vec(event, 1..60)
}

/// A backend whose entries end with their session.
struct Model {
    course: Course,
    now: Instant,
    answer: Answer,
    /// Weights, and in which session they were written.
    there: BTreeMap<String, (u32, u32)>,
    session: u32,
    wanted: BTreeMap<String, (u64, u32)>,
}

impl Model {
    fn lose(&mut self) {
        self.session += 1;
    }

    /// Does what there is to do at this moment. Tells until when to wait.
    fn settle(&mut self) -> Option<Instant> {
        for _ in 0..100 {
            let (random, now) = (0.5, self.now);
            let is_done = !matches!(self.answer, Answer::Fails);
            let result = match self.answer {
                Answer::Good | Answer::Lost => Ok(()),
                _ => Err(failure()),
            };
            let breaks = matches!(self.answer, Answer::Breaks);
            match self.course.next(now) {
                Step::Put(ticket) => {
                    let id = ticket.instance.id().to_owned();
                    if is_done {
                        let weight = ticket.instance.endpoint().weight();
                        self.there.insert(id, (weight, self.session));
                    }
                    if breaks {
                        self.lose();
                        self.course.lose();
                    }
                    self.course.put(&ticket, result, random, now);
                }
                Step::Remove(ticket) => {
                    if is_done {
                        self.there.remove(ticket.instance.id());
                    }
                    if breaks {
                        self.lose();
                        self.course.lose();
                    }
                    self.course.removed(&ticket, result, random, now);
                }
                Step::KeepAlive(_) => match self.answer {
                    Answer::Good => self.course.kept(Ok(Kept::Alive), random, now),
                    Answer::Lost => {
                        self.lose();
                        self.course.kept(Ok(Kept::Lost), random, now);
                    }
                    Answer::Breaks => {
                        self.lose();
                        self.course.lose();
                    }
                    _ => self.course.kept(Err(failure()), random, now),
                },
                Step::End => {
                    self.lose();
                    self.course.lose();
                }
                Step::Wait(until) => {
                    assert!(until.is_none_or(|until| until > now), "it would spin");
                    return until;
                }
                Step::Done => return None,
            }
        }
        panic!("it spins");
    }
}

proptest! {
    #[test]
    fn once_the_backend_works_it_has_what_is_wanted_and_nothing_else(events in events()) {
        let mut model = Model {
            course: course(),
            now: time::now(),
            answer: Answer::Good,
            there: BTreeMap::new(),
            session: 0,
            wanted: BTreeMap::new(),
        };
        let mut weight = 1;
        for event in events {
            weight += 1;
            match event {
                Event::Announce(id) => {
                    let id = id.to_string();
                    let announced = model.course.announce(instance(&id, weight));
                    prop_assert_eq!(announced.is_err(), model.wanted.contains_key(&id));
                    if let Ok(number) = announced {
                        model.wanted.insert(id, (number, weight));
                    }
                }
                Event::Update(id) => {
                    if let Some((number, known)) = model.wanted.get_mut(&id.to_string()) {
                        *known = weight;
                        model.course.update(*number, instance(&id.to_string(), weight));
                    }
                }
                Event::Withdraw(id) => {
                    let id = id.to_string();
                    if let Some((number, _)) = model.wanted.remove(&id) {
                        model.course.withdraw(number, &id.into(), model.now);
                    }
                }
                Event::Pass(passed) => model.now += secs(passed),
                Event::Answer(answer) => model.answer = answer,
            }
            model.settle();
        }
        model.answer = Answer::Good;
        let end = model.now + secs(31);
        while model.now < end {
            model.now = model.settle().unwrap_or(end).min(end);
        }
        // Entries of an older session expire.
        let session = model.session;
        model.there.retain(|_, (_, of)| *of == session);
        let there: BTreeMap<_, _> = model.there.iter().map(|(id, (weight, _))| (id, weight)).collect();
        let wanted: BTreeMap<_, _> = model.wanted.iter().map(|(id, (_, weight))| (id, weight)).collect();
        prop_assert_eq!(there, wanted);
        prop_assert_eq!(model.course.is_over(), model.wanted.is_empty());
    }
}
