//! What an operator does to a circuit: manual states, and new settings.

use std::sync::Arc;

use super::{Machine, Now, rest, window::Window};
use crate::breaker::{CircuitBreakerConfig, CircuitState};

impl Machine {
    /// Into a state that a handle sets, to stay. Nothing happens if it is in it.
    pub(in crate::breaker) fn force(&mut self, state: CircuitState, now: Now) {
        self.by_hand = true;
        if state != self.state {
            self.openings = 0;
            self.turn(state, now);
        }
    }

    /// As the config says, with nothing held against it.
    pub(in crate::breaker) fn reset(&mut self, now: Now) {
        self.by_hand = false;
        self.openings = 0;
        self.turn(rest(&self.config), now);
    }

    /// New settings. What was counted stays, as far as it fits; so does the time it is open until.
    pub(in crate::breaker) fn update(
        &mut self,
        config: impl Into<Arc<CircuitBreakerConfig>>,
        now: Now,
    ) {
        let config = config.into();
        self.catch_up(now, 0);
        let (before, after) = (rest(&self.config), rest(&config));
        self.config = config;
        // What is overdue by these is found anew.
        if self.state != CircuitState::Open {
            self.overdue = 0;
        }
        match &mut self.window {
            Some(window) if self.config.needs_window() => {
                window.resize(self.config.window, now.nanos);
            }
            window => {
                let needed = self.config.needs_window();
                *window = needed.then(|| Window::new(self.config.window, now.nanos));
            }
        }
        if before != after && !self.by_hand {
            self.reset(now);
        } else if self.state == CircuitState::HalfOpen {
            // What was found out under other rules may never decide under these.
            self.turn(CircuitState::HalfOpen, now);
        }
    }
}
