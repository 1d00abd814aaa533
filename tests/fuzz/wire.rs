//! The sources themselves, since no user can reach these parsers alone.

#[path = "../../src/plugin/wire/envelope.rs"]
mod envelope;
#[path = "../../src/plugin/wire/frames.rs"]
pub mod frames;
#[path = "../../src/plugin/wire/json.rs"]
mod json;
#[path = "../../src/plugin/wire/lines.rs"]
pub mod lines;
#[path = "../../src/plugin/wire/process.rs"]
pub mod process;
#[path = "../../src/plugin/wire/scan.rs"]
mod scan;
#[path = "../../src/plugin/wire/stream.rs"]
pub mod stream;
#[path = "../../src/plugin/wire/text.rs"]
pub mod text;

/// What a connection does with bytes that come: never more than there is room for.
pub fn feed(frames: &mut frames::Frames, bytes: &mut &[u8], limit: usize) {
    let (buffer, room) = frames.room(limit);
    let (now, later) = bytes.split_at(room.min(bytes.len()));
    buffer.extend_from_slice(now);
    assert!(buffer.len() <= limit + 1, "more is kept than a message may have");
    *bytes = later;
}
