//! What is logged, for tests that look at it.
#![allow(dead_code, unreachable_pub)]

use std::{
    fmt::Debug,
    sync::{Arc, Mutex},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::DefaultGuard,
};

/// Keeps what a module logs, each line with its level.
#[derive(Clone)]
pub struct Log {
    module: &'static str,
    lines: Arc<Mutex<Vec<(Level, String)>>>,
}

impl Log {
    /// Keeps what this thread logs in a module or below it, until the guard drops.
    pub fn of(module: &'static str) -> (Self, DefaultGuard) {
        let log = Self { module, lines: Arc::default() };
        let guard = tracing::subscriber::set_default(log.clone());
        (log, guard)
    }

    /// What was logged since it was asked last: the fields of each event.
    pub fn take(&self) -> Vec<(Level, String)> {
        std::mem::take(&mut *self.lines.lock().unwrap())
    }

    /// The warnings of that.
    pub fn warnings(&self) -> Vec<String> {
        let warnings = self.take().into_iter().filter(|(level, _)| *level == Level::WARN);
        warnings.map(|(_, fields)| fields).collect()
    }
}

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 += &format!("{field}={value:?} ");
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with(self.module)
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        self.lines.lock().unwrap().push((*event.metadata().level(), fields.0));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
