//! Endpoints in a file, whatever writes it and however: on a paused clock, with a real file system.
#![cfg(feature = "json")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::{Duration, SystemTime},
};

use futures::{FutureExt, StreamExt};
use support::{ms, secs};
use tokio::time::Instant;
use tower_upstream::{
    discover::{self, Discover, EndpointSet, File, WatchStream, Watched},
    endpoint::Status,
};

/// A directory that goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, SeqCst);
        let name = format!("discover-file-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn keys(set: &EndpointSet) -> Vec<&str> {
    set.iter().map(|endpoint| endpoint.key()).collect()
}

/// Waits for the next set, and tells how long that took.
async fn expect(sets: &mut WatchStream, expected: &[&str]) -> Duration {
    let start = Instant::now();
    let set = tokio::time::timeout(secs(60), sets.next()).await.expect("no news").unwrap();
    assert_eq!(keys(&set), expected);
    start.elapsed()
}

/// As long ago as files are that nothing has just written.
fn age(path: &Path) {
    let file = fs::File::options().append(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - secs(3_600)).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_change_is_noticed_within_the_interval() {
    let directory = Directory::new();
    let path = directory.write("list.json", r#"["a:1"]"#);
    let endpoints = discover::file(&path);
    let mut sets = endpoints.discover();
    expect(&mut sets, &["a:1"]).await;
    fs::write(&path, r#"["a:1", {"id": "b", "address": "b", "port": 1, "status": "passing"}]"#)
        .unwrap();
    assert!(expect(&mut sets, &["b", "a:1"]).await <= ms(1_101));
    let set = endpoints.handle().set().unwrap();
    assert_eq!(set.get("b").unwrap().status(), Status::Passing);
    // In place, with the same length, in the same instant of the file system.
    for (text, expected) in
        [(r#"["c:1","b:1"]"#, ["b:1", "c:1"]), (r#"["d:1","b:1"]"#, ["b:1", "d:1"])]
    {
        fs::write(&path, text).unwrap();
        let set = tokio::time::timeout(secs(9), async {
            loop {
                let set = sets.next().await.unwrap();
                if keys(&set) == expected {
                    return;
                }
            }
        });
        set.await.expect(text);
    }
    assert!(sets.next().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_file_that_does_not_change_is_not_read() {
    let directory = Directory::new();
    let path = directory.write("list.json", r#"["a:1"]"#);
    age(&path);
    let endpoints = Watched::new(File::new(&path).with_interval(ms(100)));
    let mut sets = endpoints.discover();
    expect(&mut sets, &["a:1"]).await;
    // A read would set the time of access, which is older than the last change only once.
    let accessed = fs::metadata(&path).unwrap().accessed().unwrap();
    tokio::time::sleep(secs(60)).await;
    assert_eq!(fs::metadata(&path).unwrap().accessed().unwrap(), accessed);
    assert!(endpoints.handle().staleness().unwrap() <= ms(111));
}

#[tokio::test(start_paused = true)]
async fn a_rename_over_it_is_noticed_even_if_length_and_time_are_the_same() {
    let directory = Directory::new();
    let path = directory.write("list.json", r#"["a:1"]"#);
    let next = directory.write("next.json", r#"["b:1"]"#);
    let at = SystemTime::now() - secs(3_600);
    for path in [&path, &next] {
        fs::File::options().append(true).open(path).unwrap().set_modified(at).unwrap();
    }
    let endpoints = discover::file(&path);
    let mut sets = endpoints.discover();
    expect(&mut sets, &["a:1"]).await;
    tokio::time::sleep(secs(10)).await;
    fs::rename(&next, &path).unwrap();
    // All are new, so the old one stays for a while.
    expect(&mut sets, &["a:1", "b:1"]).await;
    expect(&mut sets, &["b:1"]).await;
}

#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn a_config_map_that_swaps_its_link_is_noticed() {
    use std::os::unix::fs::symlink;
    let directory = Directory::new();
    let version = |name: &str, text: &str| {
        fs::create_dir(directory.path(name)).unwrap();
        age(&directory.write(&format!("{name}/list.json"), text));
    };
    version("..2026_1", r#"["a:1", "b:1"]"#);
    symlink("..2026_1", directory.path("..data")).unwrap();
    symlink("..data/list.json", directory.path("list.json")).unwrap();
    let endpoints = discover::file(directory.path("list.json"));
    let mut sets = endpoints.discover();
    expect(&mut sets, &["a:1", "b:1"]).await;
    tokio::time::sleep(secs(10)).await;

    version("..2026_2", r#"["a:1", "c:1"]"#);
    symlink("..2026_2", directory.path("..data_tmp")).unwrap();
    fs::rename(directory.path("..data_tmp"), directory.path("..data")).unwrap();
    fs::remove_dir_all(directory.path("..2026_1")).unwrap();
    assert!(expect(&mut sets, &["a:1", "c:1"]).await <= ms(1_101));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_used_changes_nothing_and_is_told() {
    let directory = Directory::new();
    let path = directory.write("list.json", r#"["a:1"]"#);
    let endpoints = discover::file(&path);
    let handle = endpoints.handle();
    let mut sets = endpoints.discover();
    expect(&mut sets, &["a:1"]).await;
    let long = format!("[{}\"b:1\"]", " ".repeat(16 << 20));
    for (text, told) in [
        ("", "line 1"),
        ("[\"a:1\",\n\"b:", "line 2"),
        ("[\n\"a:1\",\n{\"address\": \"b:1\", \"wieght\": 2}]", "line 3"),
        ("[\"b:1\", \"b:1\"]", "two endpoints have the key `b:1`"),
        ("\u{feff}[]", "line 1"),
        (&*long, "16 MiB"),
        (&*"[".repeat(200), "line 1"),
    ] {
        fs::write(&path, text).unwrap();
        tokio::time::sleep(secs(3)).await;
        let error = handle.last_error().expect(told).to_string();
        assert!(error.contains(told) && error.contains("list.json"), "{error}");
        assert!(sets.next().now_or_never().is_none());
    }
    fs::remove_file(&path).unwrap();
    tokio::time::sleep(secs(3)).await;
    assert!(handle.last_error().unwrap().to_string().contains("cannot be read"));
    fs::create_dir(&path).unwrap();
    tokio::time::sleep(secs(3)).await;
    assert!(handle.last_error().unwrap().to_string().contains("regular file"));
    fs::remove_dir(&path).unwrap();
    tokio::time::sleep(secs(600)).await;
    assert!(sets.next().now_or_never().is_none());
    assert!(handle.failures() > 0);

    // However long it was wrong, it is read within the interval.
    fs::write(&path, r#"["a:1", "b:1"]"#).unwrap();
    assert!(expect(&mut sets, &["a:1", "b:1"]).await <= ms(1_101));
    assert!(handle.last_error().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_empty_list_counts_after_its_grace_though_the_file_does_not_change() {
    let directory = Directory::new();
    let path = directory.write("list.json", r#"["a:1"]"#);
    let endpoints = discover::file(&path);
    let mut sets = endpoints.discover();
    expect(&mut sets, &["a:1"]).await;
    fs::write(&path, "[]").unwrap();
    age(&path);
    let waited = expect(&mut sets, &[]).await;
    assert!((secs(10)..=secs(13)).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_file_may_come_later() {
    let directory = Directory::new();
    let endpoints = discover::file(directory.path("list.json"));
    let error = endpoints.first_snapshot(secs(5)).await.unwrap_err().to_string();
    assert!(error.contains("list.json") && error.contains("cannot be read"), "{error}");
    directory.write("list.json", r#"{"endpoints": ["a:1"]}"#);
    assert_eq!(keys(&endpoints.first_snapshot(secs(5)).await.unwrap()), ["a:1"]);
}

#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn a_pipe_does_not_hang_it() {
    let directory = Directory::new();
    let path = directory.path("list.json");
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    let error = discover::file(&path).first_snapshot(secs(5)).await.unwrap_err().to_string();
    assert!(error.contains("regular file"), "{error}");
}

/// A writer that truncates and writes in pieces never makes anything but its lists visible.
#[tokio::test(start_paused = true)]
async fn a_torn_write_is_never_seen() {
    use std::io::Write;
    let directory = Directory::new();
    let list = |count: usize| {
        let all: Vec<_> = (0..count).map(|number| format!("\"host-{number:03}:1\"")).collect();
        format!("[{}]", all.join(","))
    };
    let path = directory.write("list.json", &list(100));
    let endpoints = Watched::new(File::new(&path).with_interval(ms(10)));
    let mut sets = endpoints.discover();
    assert_eq!(sets.next().await.unwrap().len(), 100);
    let text = list(150);
    let mut file = fs::File::create(&path).unwrap();
    for piece in text.as_bytes().chunks(97) {
        file.write_all(piece).unwrap();
        tokio::time::sleep(ms(150)).await;
        if let Some(Some(set)) = sets.next().now_or_never() {
            assert_eq!(set.len(), 150);
            return;
        }
    }
    assert_eq!(sets.next().await.unwrap().len(), 150);
}
