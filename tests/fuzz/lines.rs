//! Lines of a child process, and of its host.

use crate::{
    LIMIT, time,
    wire::{
        lines::{Line, Lines},
        process::{Addressee, LineAsked, LineTold, addressee, id_at_start, with_id},
    },
};

/// Reads a stream in parts of odd lengths, and each line in it; the last one need have no end.
fn stream(bytes: &[u8], mut read: impl FnMut(&str)) {
    let mut lines = Lines::default();
    for part in bytes.chunks(97) {
        lines.room().extend_from_slice(part);
        while let Some(line) = lines.take(LIMIT) {
            match line {
                Line::Whole(line) => {
                    assert!(line.len() <= LIMIT && !line.contains(&b'\n'));
                    read(&String::from_utf8_lossy(&line));
                }
                Line::TooLong(start) => drop(id_at_start(&String::from_utf8_lossy(&start))),
            }
        }
    }
    if let Some(rest) = lines.rest() {
        read(&String::from_utf8_lossy(&rest));
    }
}

pub fn question(bytes: &[u8]) {
    stream(bytes, |line| {
        if let Ok(asked) = LineAsked::read(line) {
            assert!(asked.headers.len() <= 1_024 && asked.metadata.len() <= 1_024);
            assert!(asked.timeout.is_none_or(|timeout| !timeout.is_zero()));
        }
        drop(with_id(line.as_bytes(), "r-1", "r-1~2"));
    });
}

pub fn answer(bytes: &[u8]) {
    stream(bytes, |line| {
        let told = LineTold::read(line);
        if let Ok(told) = &told {
            assert!(told.retry_after.is_none_or(|wait| wait <= time::FAR));
        }
        // An answer without an id is an error that can be read.
        if addressee(line) == Addressee::Unknown && told.is_ok() {
            assert!(told.is_ok_and(|told| told.error.is_some()));
        }
    });
}
