use std::{net::Ipv4Addr, time::Duration};

use mdns_sd::ServiceDaemon;

use super::{super::daemon::tests::loopback, *};

/// Of some types, on loopback alone. What follows a search, or the interfaces, has no turn before the test waits.
fn source<const N: usize>(kinds: [&str; N]) -> (MdnsService, [ServiceType; N]) {
    let kinds = kinds.map(|name| ServiceType::of_service(name).unwrap());
    (MdnsService::new(loopback(), None, kinds.to_vec(), false, None), kinds)
}

#[tokio::test]
async fn a_type_that_cannot_be_searched_for_takes_nothing_from_the_others() {
    let (source, kinds) = source(["one", "two"]);
    let start = time::now();
    let after = |seconds| time::later(start, Duration::from_secs(seconds));
    let mut watching = source.begin(start).unwrap();
    assert!(source.found(&mut watching, start).unwrap().is_empty());
    let daemon = watching.daemon.clone();
    let endpoint = Endpoint::new("a:1").unwrap();
    daemon.heard.note(|board| board.found((&kinds[0], 1), "a", endpoint, 9, start));
    // The second one ends, and cannot begin again.
    daemon.heard.note(|board| board.end(&kinds[1], 2));
    let _ = daemon.orders.ask(ServiceDaemon::shutdown);
    let browse = |mdns: &ServiceDaemon| mdns.browse("_x._tcp.local.");
    while let Ok(_) | Err(mdns_sd::Error::Again) = daemon.orders.ask(browse) {
        std::thread::yield_now();
    }
    assert_eq!(source.found(&mut watching, after(2)).unwrap().len(), 1);
    // Once none can be searched for, it is an error.
    daemon.heard.note(|board| board.end(&kinds[0], 1));
    assert!(source.found(&mut watching, after(4)).is_err());
}

#[tokio::test]
async fn a_watch_that_begins_again_gathers_for_the_whole_time() {
    let (source, [kind]) = source(["tax"]);
    let start = time::now();
    let after = |millis| time::later(start, Duration::from_millis(millis));
    for (has_told, told_after) in [(false, 300), (true, 5_000)] {
        source.has_told.store(has_told, Ordering::Relaxed);
        let mut watching = source.begin(start).unwrap();
        let heard = watching.daemon.heard.clone();
        heard.note(|board| board.own.insert(Ipv4Addr::LOCALHOST.into()));
        let mut look = |millis| source.look(&mut watching, after(millis)).unwrap();
        assert!(look(0).is_err());
        let endpoint = Endpoint::new("a:1").unwrap();
        heard.note(|board| board.found((&kind, 1), "a", endpoint, 9, start));
        assert_eq!(look(told_after - 1).unwrap_err(), Some(after(told_after)));
        assert!(look(told_after).is_ok());
    }
}

#[tokio::test]
async fn what_leaves_with_an_own_interface_is_not_known_to_be_gone() {
    let (source, [kind]) = source(["tax"]);
    let start = time::now();
    let after = |millis| time::later(start, Duration::from_millis(millis));
    let mut watching = source.begin(start).unwrap();
    let heard = watching.daemon.heard.clone();
    heard.note(|board| board.own.insert(Ipv4Addr::LOCALHOST.into()));
    let mut look = |millis| source.look(&mut watching, after(millis)).unwrap();
    assert!(look(0).is_err());
    for key in ["a", "b", "c", "d"] {
        let endpoint = Endpoint::new("a:1").unwrap().with_key(key);
        heard.note(|board| board.found((&kind, 1), key, endpoint, 9, start));
    }
    assert!(look(300).is_ok());
    for (key, lost, is_certain) in [("a", 0, true), ("b", 1, false), ("c", 0, true)] {
        heard.note(|board| {
            board.lost += lost;
            board.gone((&kind, 1), key, after(400));
        });
        let told = format!("{:?}", look(450).unwrap());
        assert!(told.contains(&format!("is_certain: {is_certain}")), "{key}: {told}");
    }
}
