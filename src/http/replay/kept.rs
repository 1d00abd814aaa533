//! What has passed of a body, and which copy reads the rest: the state that copies share.

use std::{mem, pin::Pin, sync::Arc, task::Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use crate::error::BoxError;

/// The stream that chunks come from.
pub(super) type Source = Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>;

/// Most chunks that are kept, however small they are.
pub(super) const MAX_CHUNKS: usize = 4_096;

pub(super) struct State {
    cap: usize,
    /// All that has passed, or nothing if it was too much.
    kept: Vec<Bytes>,
    kept_bytes: usize,
    /// All that has passed was kept.
    complete: bool,
    trailers: Option<HeaderMap>,
    rest: Rest,
    /// How much the source has left, as far as it says.
    hint: SizeHint,
    /// The source had nothing when it was last asked.
    is_late: bool,
    /// The turn of the copy that reads the rest.
    turn: u64,
    /// The one that waits for it.
    waker: Option<Waker>,
    /// The last turn that was claimed for an attempt.
    claimed: u64,
}

enum Rest {
    Here(Source),
    /// One of the copies polls it at this moment.
    Lent,
    Ended,
    Failed(Arc<str>),
}

/// What a copy gets next.
pub(super) enum Part {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
    Error(BoxError),
    /// The source, to be polled and given back.
    Source(Source),
    /// Another copy polls it, and wakes this one.
    Lent,
}

impl State {
    pub(super) fn new(source: Source, cap: usize) -> Self {
        let (over, hint) = (source.is_end_stream(), source.size_hint());
        Self {
            cap,
            kept: Vec::new(),
            kept_bytes: 0,
            complete: true,
            trailers: None,
            rest: if over { Rest::Ended } else { Rest::Here(source) },
            hint,
            is_late: false,
            turn: 0,
            waker: None,
            claimed: 0,
        }
    }

    /// Whether a copy can be read from the start to the end, as far as is known.
    pub(super) fn may_fit(&self) -> bool {
        let left = match self.rest {
            Rest::Failed(_) => return false,
            Rest::Ended => 0,
            Rest::Here(_) | Rest::Lent => self.hint.lower(),
        };
        self.complete && (self.kept_bytes as u64).saturating_add(left) <= self.cap as u64
    }

    /// Whether all of the source has passed and was kept.
    pub(super) fn is_kept(&self) -> bool {
        self.complete && matches!(self.rest, Rest::Ended)
    }

    /// Whether the source had nothing when it was last asked.
    pub(super) fn note(&mut self, is_late: bool) {
        self.is_late = is_late;
    }

    /// Whether the source has yet to send of what it announced, and was asked for it. Of one that announced
    /// nothing, such as half of a conversation, it is not known whose turn it is.
    pub(super) fn is_owed(&self) -> bool {
        let is_there = matches!(self.rest, Rest::Here(_) | Rest::Lent);
        is_there && self.is_late && self.hint.exact().is_some_and(|left| left > 0)
    }

    pub(super) fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    /// Returns the next turn, or 0 if the rest would be of no use; and the waker of the copy that
    /// loses its turn.
    pub(super) fn next_turn(&mut self) -> (u64, Option<Waker>) {
        if !self.complete {
            return (0, None);
        }
        self.turn += 1;
        (self.turn, self.waker.take())
    }

    pub(super) fn is_turn_of(&self, turn: u64) -> bool {
        self.turn == turn
    }

    /// [`next_turn`](Self::next_turn) for an attempt that is to be made: copies made before it come too late.
    pub(super) fn claim(&mut self) -> (u64, Option<Waker>) {
        let (turn, waiting) = self.next_turn();
        self.claimed = self.claimed.max(turn);
        (turn, waiting)
    }

    pub(super) fn turn(&self) -> u64 {
        self.turn
    }

    /// Whether a copy that was made at the turn `made` may take one: it has returned all that was kept,
    /// there is more, and no attempt was begun since.
    pub(super) fn may_begin(&self, made: u64, chunks: usize) -> bool {
        let is_more = matches!(self.rest, Rest::Here(_) | Rest::Lent);
        self.claimed <= made && is_more && chunks >= self.kept.len()
    }

    pub(super) fn part(
        &mut self,
        turn: u64,
        chunks: usize,
        gave_trailers: bool,
        waker: &Waker,
    ) -> Part {
        if !self.complete && self.turn != turn {
            return Part::Error("the body was too long to be kept, and was sent already".into());
        }
        if let Some(chunk) = self.kept.get(chunks) {
            return Part::Data(chunk.clone());
        }
        match &self.rest {
            Rest::Ended => match &self.trailers {
                Some(trailers) if !gave_trailers => Part::Trailers(trailers.clone()),
                _ => Part::End,
            },
            Rest::Failed(text) => Part::Error(text.to_string().into()),
            _ if self.turn != turn => Part::Error("a later attempt has taken over the body".into()),
            Rest::Lent => {
                self.waker = Some(waker.clone());
                Part::Lent
            }
            Rest::Here(_) => match mem::replace(&mut self.rest, Rest::Lent) {
                Rest::Here(source) => Part::Source(source),
                _ => Part::End,
            },
        }
    }

    /// Keeps what has passed, if it is wanted and fits. Returns what is of no use any more.
    pub(super) fn keep(&mut self, frame: &Frame<Bytes>, wanted: bool, turn: u64) -> Vec<Bytes> {
        if let Some(trailers) = frame.trailers_ref() {
            self.trailers = Some(trailers.clone());
        }
        let Some(chunk) = frame.data_ref().filter(|chunk| self.complete && !chunk.is_empty())
        else {
            return Vec::new();
        };
        let fits = self.kept_bytes + chunk.len() <= self.cap && self.kept.len() < MAX_CHUNKS;
        if wanted && fits {
            self.kept_bytes += chunk.len();
            self.kept.push(chunk.clone());
            return Vec::new();
        }
        self.complete = false;
        self.kept_bytes = 0;
        if self.turn != turn {
            // The copy that has taken over would miss this chunk, so no copy has a turn any more.
            self.turn = u64::MAX;
        }
        mem::take(&mut self.kept)
    }

    /// There is more to come. Like those below, it returns what must not drop under a lock.
    pub(super) fn put_back(&mut self, source: Source, hint: SizeHint) -> Option<Source> {
        self.rest = Rest::Here(source);
        self.hint = hint;
        None
    }

    pub(super) fn end(&mut self, source: Source) -> Option<Source> {
        self.rest = Rest::Ended;
        Some(source)
    }

    pub(super) fn fail(&mut self, source: Source, text: &str) -> Option<Source> {
        self.rest = Rest::Failed(text.into());
        Some(source)
    }

    /// Keeps the waker of a copy, for when another one takes over.
    pub(super) fn wait(&mut self, waker: &Waker) -> Option<Waker> {
        self.waker.replace(waker.clone())
    }

    pub(super) fn waiting(&mut self) -> Option<Waker> {
        self.waker.take()
    }

    /// Whether a copy that has returned so much has returned all.
    pub(super) fn is_over(&self, turn: u64, chunks: usize, gave_trailers: bool) -> bool {
        let is_one_who_has_all = self.complete || self.turn == turn;
        is_one_who_has_all
            && matches!(self.rest, Rest::Ended)
            && (!self.complete || chunks >= self.kept.len())
            && (gave_trailers || self.trailers.is_none())
    }

    /// How much there is for a copy that has returned so many bytes.
    pub(super) fn size_hint(&self, turn: u64, bytes: u64) -> SizeHint {
        if !self.complete && self.turn != turn {
            return SizeHint::default();
        }
        let again = match self.complete {
            true => (self.kept_bytes as u64).saturating_sub(bytes),
            false => 0,
        };
        let mut hint = SizeHint::default();
        match self.rest {
            Rest::Failed(_) => {}
            Rest::Ended => hint.set_exact(again),
            Rest::Here(_) | Rest::Lent => {
                if let Some(upper) = self.hint.upper() {
                    hint.set_upper(upper.saturating_add(again));
                }
                hint.set_lower(self.hint.lower().saturating_add(again));
            }
        }
        hint
    }
}
