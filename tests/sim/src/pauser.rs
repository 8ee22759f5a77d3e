//! A client's hand on the brake: it pauses the microbatch topology of a story, looks whether it stands still, also over a restart,
//! and has it go on.

use tantu_net::letter::MicrobatchAsk;
use tantu_weather::SimEntropy;

/// A topology was paused, and stood still.
pub const PAUSED: &str = "paused topology";
/// A topology stood still in another life than the one it was paused in.
pub const PAUSED_OVER_RESTART: &str = "pause over a restart";
/// Pauses in one life, at most.
const PAUSE_COUNT_MAX: u32 = 3;
/// Of a million steps, those in which a topology that goes on is paused.
const PAUSE_PPM: u32 = 4_000;
/// Steps between an answer and the next question, at most.
const STEP_COUNT_MAX: u64 = 60;

/// What the client knows of the topology.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// It goes on.
    Going,
    /// It was asked to pause, and has not answered.
    Pausing,
    /// It stands still after this microbatch; so many looks are to come.
    Paused { finished: u64, looks: u32 },
    /// It may be one or the other: it is to go on.
    Unknown,
    /// It was asked to go on, and has not answered.
    Resuming,
}

/// See the module.
#[derive(Debug)]
pub struct Pauser {
    chance: SimEntropy,
    state: State,
    /// Steps until the next question.
    rest: u64,
    /// Whether a question is out.
    asks: bool,
    left: u32,
    /// The process ended since it was paused.
    is_new_life: bool,
    /// Pauses that were seen to hold, and those of them that were seen to hold in a later life.
    pub held: [u64; 2],
}

impl Pauser {
    /// Of a topology that goes on.
    pub fn new(chance: SimEntropy) -> Self {
        Self { chance, state: State::Going, rest: 0, asks: false, left: 0, is_new_life: false, held: [0; 2] }
    }

    /// The process begins anew: what was asked may have been heard or not.
    pub fn begin_life(&mut self) {
        (self.left, self.asks, self.is_new_life) = (PAUSE_COUNT_MAX, false, true);
        match self.state {
            State::Going => {}
            // It must still stand.
            State::Paused { .. } => self.rest = self.chance.below(STEP_COUNT_MAX),
            State::Pausing | State::Resuming | State::Unknown => self.state = State::Unknown,
        }
    }

    /// Whether the topology goes on and nothing is to be asked.
    pub fn is_done(&self) -> bool {
        self.state == State::Going
    }

    /// What to ask now; with `may_pause` it may pause the topology. Whether it has something to do by and by.
    pub fn step(&mut self, may_pause: bool) -> (Option<MicrobatchAsk>, bool) {
        let is_busy = !self.is_done() && !self.asks;
        if self.asks {
            return (None, false);
        }
        if self.state == State::Going {
            let pauses = may_pause && self.left > 0 && self.chance.chance_ppm(PAUSE_PPM);
            return if pauses { (Some(self.ask(MicrobatchAsk::Pause)), true) } else { (None, false) };
        }
        if self.rest > 0 {
            self.rest -= 1;
            return (None, is_busy);
        }
        let ask = match self.state {
            State::Paused { looks, .. } if looks > 0 => MicrobatchAsk::Status,
            _ => MicrobatchAsk::Resume,
        };
        (Some(self.ask(ask)), true)
    }

    fn ask(&mut self, ask: MicrobatchAsk) -> MicrobatchAsk {
        self.asks = true;
        match ask {
            MicrobatchAsk::Pause => {
                self.left -= 1;
                self.is_new_life = false;
                self.state = State::Pausing;
            }
            MicrobatchAsk::Resume => self.state = State::Resuming,
            _ => {}
        }
        ask
    }

    /// What the topology answered; a finding if that cannot be.
    pub fn answered(&mut self, finished: u64, paused: bool) -> Option<String> {
        self.asks = false;
        self.rest = self.chance.below(STEP_COUNT_MAX);
        match self.state {
            State::Pausing => {
                self.state = State::Paused { finished, looks: 1 + self.chance.below(3) as u32 };
                (!paused).then(|| "a pause was answered, and the topology is not paused".to_string())
            }
            State::Paused { finished: before, looks } => {
                self.state = State::Paused { finished: before, looks: looks - 1 };
                self.held[0] += 1;
                self.held[1] += u64::from(self.is_new_life);
                let stands = paused && finished == before;
                (!stands).then(|| {
                    format!("it was paused after microbatch {before}; now {finished} is finished, paused: {paused}")
                })
            }
            State::Resuming => {
                self.state = State::Going;
                paused.then(|| "it goes on, and yet it is paused".to_string())
            }
            State::Going | State::Unknown => Some("an answer to no question came from a topology".to_string()),
        }
    }

    /// A question was refused: whether it was heard is not known.
    pub fn refused(&mut self) {
        self.asks = false;
        self.rest = 1 + self.chance.below(STEP_COUNT_MAX);
        if !matches!(self.state, State::Paused { .. }) {
            self.state = State::Unknown;
        }
    }
}
