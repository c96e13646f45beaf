//! Recording what clients ask and are told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use stampede_domain::DropId;

use super::{Answer, Ask, Operation};

/// The operations on each drop.
pub type History = BTreeMap<DropId, Vec<Operation>>;

/// Where all clients of one run write down what they do; they share its clock. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Recorder {
    started: Instant,
    history: Arc<Mutex<History>>,
}

/// A request that was sent and not answered yet. One that is dropped unanswered is recorded as unknown.
#[derive(Debug)]
pub struct Call {
    recorder: Recorder,
    drop_id: DropId,
    ask: Ask,
    called_ns: u64,
    answer: Answer,
}

impl Recorder {
    /// An empty history, whose clock starts now.
    #[expect(clippy::new_without_default, reason = "it reads the clock")]
    pub fn new() -> Self {
        Self { started: Instant::now(), history: Arc::default() }
    }

    /// To be called right before the request is sent.
    pub fn call(&self, drop_id: &DropId, ask: Ask) -> Call {
        let called_ns = self.now_ns();
        Call { recorder: self.clone(), drop_id: drop_id.clone(), ask, called_ns, answer: Answer::Unknown }
    }

    /// What was recorded, and an empty history from here on.
    pub fn take(&self) -> History {
        std::mem::take(&mut *self.history.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Call {
    /// To be called as soon as the answer is there.
    pub fn answered(mut self, answer: Answer) {
        self.answer = answer;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let operation = Operation {
            called_ns: self.called_ns,
            returned_ns: self.recorder.now_ns(),
            ask: self.ask.clone(),
            answer: self.answer.clone(),
        };
        let mut history = self.recorder.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.entry(self.drop_id.clone()).or_default().push(operation);
    }
}
