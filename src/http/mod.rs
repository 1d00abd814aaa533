//! HTTP around the layers: verdicts, bodies, origins, answers, and the addresses of clients.

mod answer;
mod answered_by;
mod body_end;
mod classify;
mod client_ip;
mod held_body;
mod origin;
mod replay;
mod reused;
mod slot;
mod track;
mod upgrade;

pub use self::{
    answer::{
        Answer, AnswerFuture, AnswerLayer, BodyFn, DefaultBody, EmptyBody, NoFields, Reports,
    },
    answered_by::AnsweredBy,
    body_end::{AtBodyEnd, JudgedBody},
    classify::HttpClassify,
    client_ip::ClientIp,
    held_body::HeldBody,
    origin::{Origin, OriginBody, OriginFuture, OriginLayer},
    replay::{Attempt, Deadline, Idempotent, ReplayBodies, ReplayBody, ReplayBodyLayer},
    slot::ConnectionSlot,
    track::{Track, TrackFuture, TrackLayer, TrackedBody},
};
pub(crate) use self::{
    reused::{broke_when_reused, lost_its_task},
    slot::Moment,
};
