//! Which fallbacks have handed a call on.

use std::sync::Arc;

/// The way of a call from one plugin to another, each of which could not answer it.
///
/// Configs that lead in a circle are refused, but for a while one of two plugins may be that of the config before.
#[derive(Debug, Default, Clone)]
pub(crate) struct HandedOn(Option<Arc<Step>>);

#[derive(Debug)]
struct Step {
    /// What has handed it on.
    by: Arc<()>,
    before: HandedOn,
    number: u32,
}

/// A call is handed on no more often: each time it is so much deeper.
const MAX_STEPS: u32 = 16;

impl HandedOn {
    /// Hands the call on, unless it was by the same fallback before, or too often.
    pub(crate) fn hand_on(&mut self, by: &Arc<()>) -> Result<(), &'static str> {
        let mut at = self.0.as_ref();
        let number = at.map_or(1, |step| step.number + 1);
        if number > MAX_STEPS {
            return Err("no fallback: the call went through 16 of them already");
        }
        while let Some(step) = at {
            if Arc::ptr_eq(&step.by, by) {
                return Err("no fallback: the call came back to where it was handed on before");
            }
            at = step.before.0.as_ref();
        }
        let before = std::mem::take(self);
        *self = Self(Some(Arc::new(Step { by: by.clone(), before, number })));
        Ok(())
    }
}
