//! What a plugin tells of itself, and how long its messages may be.

use super::watch::Watches;
use crate::{
    grpc::{Flavour, Json, Native, frame},
    plugin::PluginInfo,
};

#[derive(Debug, Clone)]
pub(super) struct About {
    pub(super) info: PluginInfo,
    pub(super) max_request_bytes: usize,
    pub(super) max_response_bytes: usize,
    pub(super) watches: Watches,
}

/// As in Go's gRPC.
const MAX_MESSAGE: usize = 4 << 20;

impl Default for About {
    fn default() -> Self {
        let (info, watches) = Default::default();
        Self { info, max_request_bytes: MAX_MESSAGE, max_response_bytes: MAX_MESSAGE, watches }
    }
}

impl About {
    pub(super) fn longest_request(&self) -> usize {
        self.max_request_bytes.saturating_add(frame::PREFIX)
    }

    /// Whether the health of `service` is that of this plugin.
    pub(super) fn knows(&self, service: &str) -> bool {
        ["", Json::SERVICE, Native::SERVICE, &self.info.name].contains(&service)
    }
}
