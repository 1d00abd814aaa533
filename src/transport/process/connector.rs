use std::{fmt, marker::PhantomData, sync::Arc};

use super::{
    config::ProcessConfig, handle::ProcessTransportHandle, plugin::Plugin, service::ProcessService,
};
use crate::{
    allow::AllowList, connect::Connect, guard::Family, member::Member, transport::counts::Counts,
};

/// Runs plugins as child processes, and calls them by lines of JSON over their stdin and stdout.
///
/// The address of an endpoint is `exec:/path` of a program. Each member has one process, which belongs to
/// the member rather than to a call. It is started on first use, and again when it has ended. Clones share
/// the settings. Unix only.
///
/// # What is sent
/// One JSON object in one line: `id`, `method` (`execute`), `payload`, and `context`, with `request_id`,
/// `timeout` in nanoseconds, `max_retries`, and `headers` and `metadata` if there are any. `timeout` is that
/// of the [`Call`](crate::Call), or [`request_timeout`](ProcessConfig::request_timeout) if that is shorter;
/// `max_retries` is what [`Call::with_max_retries`](crate::Call::with_max_retries) says, otherwise 0. The
/// `id` is the request id; if an answer to another call with it is still awaited, `~2` follows, and so on.
///
/// Ahead of all calls it is asked for its description by the method `info`; the answer is not waited for.
/// If that lists the capability [`MULTIPLEX`](crate::plugin::MULTIPLEX), calls are sent as they come, and
/// answered in any order. Otherwise each is sent once the answer to the one before has come, also if that
/// was given up; calls that wait are bounded by their deadlines.
///
/// # What comes back
/// A line with the same `id`. A [`Reply`](crate::Reply) of its `result`, or the zero value of `Res` if there
/// is none, unless it has an `error`. Otherwise an [`Error`](crate::Error) that names the endpoint:
///
/// | what happened | kind | |
/// |---|---|---|
/// | `error` is there and not `null` | `Plugin` | code `REGISTRY_1903`; the plugin answered, so the call is not sent again |
/// | the same with `status` 429 | `RateLimited` | a limit of the plugin, so not a refusal; with its `retry_after_ms` |
/// | the same with a `status` of 5xx | `Transport` | may be sent to another endpoint, if idempotent; with its `retry_after_ms` |
/// | a result that is no `Res` | `Transport` | code `RPC_2005` |
/// | an answer that is too long | `Transport` | code `TRANSPORT_1304` |
/// | another `id`, of a plugin that takes one call at a time | `Transport` | code `RPC_2003` |
/// | the program cannot be started | `Connection` | unsent |
/// | the [`AllowList`] does not allow the program | `InvalidConfig` | a refusal, so not evidence against the endpoint: another one is taken. Code `SECURITY_1801`, `RPC_2004` if its hash is another (the source is a [`HashMismatch`](crate::allow::HashMismatch)), `SECURITY_1803` if it cannot be hashed, `SECURITY_1805` if it cannot be read |
/// | the process ended, or closed its stdin or stdout | `Connection` | sent, if it had read the whole line |
/// | ... before it had read anything, and with an exit status | `Connection` | code `RPC_2002`: it refuses the handshake, or cannot start |
/// | it ended before, and is started again later | `Connection` | unsent; tells when to come back |
/// | `request_timeout` | `Timeout` | unsent while nothing was written |
/// | ... and it has answered nothing since it was started | `Timeout` | code `RPC_2002`, a handshake timeout; likewise at the deadline |
/// | deadline of the call | `Timeout` | likewise; does not count against the endpoint |
/// | an address that cannot be used | `InvalidConfig` | unsent |
///
/// Other lines on stdout, and all of stderr, are logged as [`OutputConfig`](super::OutputConfig) says.
///
/// # Credentials
/// A line has no place for them: those of a [`Call`](crate::Call) stay here, and there are none of the transport.
/// The process is a child of this one, and is reached by its pipes alone. What it has to show to others goes
/// into its [`env`](ProcessConfig::env), and what a caller tells it into the headers of a call.
///
/// # When the process ends
/// Its last answers are still read. Calls whose lines it has not read to the end are given to the next
/// process: the system tells how much of them was left in the pipe. The others fail. It is started again at
/// once if it had lived for 10 s, or had answered calls, all that it had read, or if it is the first that
/// ends early; otherwise after [`restart_delay`](ProcessConfig::restart_delay), which doubles. Meanwhile
/// calls fail, and the health is offline.
///
/// # How it is stopped
/// Once the last service and call of a member are dropped, its stdin is closed. If it has not ended after
/// [`stop_grace`](ProcessConfig::stop_grace), its process group gets SIGTERM, and after the same time
/// SIGKILL. What it started in its group ends with it at the latest. If the runtime ends, the group is
/// killed at once. On Linux the process is also killed if this process dies, however it dies; what it has
/// started itself sees the end of its own stdin at best. Dropping a service does not wait for any of this.
///
/// # When the program is replaced
/// The process that runs goes on, also if the file at its path is replaced by another one; if it ends, the
/// same file is executed again (on Linux), as long as it was not written to. Health and description say
/// `replaced` then. To go over to the new program, make it another endpoint, with
/// [`Endpoint::with_key`](crate::Endpoint::with_key): its process is started beside the old one, which
/// ends when its calls have ended.
///
/// # Bounds
/// Each process has a thread, which waits for it. The environment is empty, but for
/// [`env`](ProcessConfig::env), [`inherit_env`](ProcessConfig::inherit_env) and the
/// [`handshake`](ProcessConfig::handshake). A program that is a script with `#!/usr/bin/env` needs `PATH`.
///
/// # Example
/// ```
/// use serde::{Deserialize, Serialize};
/// use tower_upstream::transport::ProcessTransport;
///
/// #[derive(Serialize)]
/// struct TaxRequest { net: u64, country: String }
/// #[derive(Default, Deserialize)]
/// struct TaxReply { gross: u64 }
///
/// let transport = ProcessTransport::<TaxRequest, TaxReply>::new();
/// # let _ = transport;
/// ```
pub struct ProcessTransport<Req, Res> {
    family: Arc<Family<Plugin, ProcessConfig>>,
    counts: Arc<Counts>,
    allowed: Option<AllowList>,
    types: PhantomData<fn(Req) -> Res>,
}

impl<Req, Res> ProcessTransport<Req, Res> {
    /// Creates a transport with the default settings.
    pub fn new() -> Self {
        Self::with_config(ProcessConfig::default())
    }

    /// Creates a transport with these settings. Values out of range are clamped; see [`ProcessConfig`].
    pub fn with_config(config: ProcessConfig) -> Self {
        let family = Arc::new(Family::new(config.clamped()));
        Self { family, counts: Arc::default(), allowed: None, types: PhantomData }
    }

    /// Starts only programs that the list allows, and each by the file that was checked.
    ///
    /// A program that is not allowed is tried again as one that cannot be started, after waits that double, and
    /// at once when the list changes; meanwhile calls are refused, and the health is offline. See [`AllowList`].
    ///
    /// ```
    /// use tower_upstream::{
    ///     allow::{AllowList, AllowedPlugins},
    ///     transport::ProcessTransport,
    /// };
    ///
    /// let list = AllowList::new(AllowedPlugins::default()); // none may run
    /// let transport = ProcessTransport::<u64, u64>::new().with_allow_list(list);
    /// # let _ = transport;
    /// ```
    #[must_use]
    pub fn with_allow_list(mut self, list: AllowList) -> Self {
        self.allowed = Some(list);
        self
    }

    /// Returns a handle to the settings and counts of this transport and its clones.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_upstream::transport::ProcessTransport;
    ///
    /// let transport = ProcessTransport::<u64, u64>::new();
    /// let handle = transport.handle();
    /// handle.update(&handle.config().with_request_timeout(Duration::from_secs(3)))?;
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn handle(&self) -> ProcessTransportHandle {
        ProcessTransportHandle::new(self.family.clone(), self.counts.clone())
    }
}

impl<Req, Res> Connect for ProcessTransport<Req, Res> {
    type Service = ProcessService<Req, Res>;

    fn connect(&self, member: &Arc<Member>) -> Self::Service {
        let allowed = self.allowed.as_ref();
        let make = |config: &Arc<ProcessConfig>| Plugin::new(member.clone(), config, allowed);
        let plugin = self.family.of_member(member, make);
        ProcessService::new(plugin, self.counts.clone())
    }
}

impl<Req, Res> Default for ProcessTransport<Req, Res> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Req, Res> Clone for ProcessTransport<Req, Res> {
    fn clone(&self) -> Self {
        let allowed = self.allowed.clone();
        let (family, counts) = (self.family.clone(), self.counts.clone());
        Self { family, counts, allowed, types: PhantomData }
    }
}

impl<Req, Res> fmt::Debug for ProcessTransport<Req, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessTransport")
            .field("config", &self.family.settings())
            .field("allowed", &self.allowed)
            .finish()
    }
}
