//! What was sent and not answered yet. No I/O, no clock.
//!
//! A batch is several responses, each with its own nonce, closed by `Revision`. The proxy swaps to a batch as
//! a whole, so a batch counts as applied when its closing response is acknowledged and no part was refused.

use std::collections::VecDeque;

use super::Topic;

/// Batches in flight. More would only queue what the next comparison says better; fewer would make a proxy
/// across an ocean wait for a round trip per change.
pub const BATCHES_MAX: usize = 4;

/// The responses in flight to one proxy.
#[derive(Debug, Default)]
pub struct Acknowledgements {
    batches: VecDeque<Flight>,
    next_batch: u64,
}

#[derive(Debug)]
struct Flight {
    number: u64,
    closing: Closing,
    parts: Vec<(Topic, Vec<String>)>,
    refused: bool,
}

/// What a batch makes of the proxy that applies it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closing {
    /// The snapshot's.
    pub generation: u64,
    /// The configuration's number.
    pub revision: u64,
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A part has arrived; the batch is not applied yet.
    Received,
    /// The batch is applied.
    Applied(Closing),
    /// The proxy keeps what it had.
    Refused {
        /// The revision it refused.
        revision: u64,
        /// What it refused; everything, if it refused the closing itself.
        culprits: Vec<(Topic, Vec<String>)>,
        /// What else was in the batch.
        others: Vec<(Topic, Vec<String>)>,
    },
    /// To something answered before, or never sent.
    Stale,
}

/// Numbers the responses of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nonces(u64);

impl Nonces {
    /// Of the response with this place in the batch.
    pub fn part(self, index: usize) -> String {
        format!("{}.{index}", self.0)
    }

    /// Of the closing response.
    pub fn closing(self) -> String {
        format!("{}.end", self.0)
    }
}

impl Acknowledgements {
    /// Whether another batch may be sent now.
    pub fn has_room(&self) -> bool {
        self.batches.len() < BATCHES_MAX
    }

    /// Whether everything sent was answered.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// A batch is being sent: the names in each of its responses, in order.
    pub fn sent(&mut self, parts: Vec<(Topic, Vec<String>)>, closing: Closing) -> Nonces {
        let number = self.next_batch;
        self.next_batch += 1;
        self.batches.push_back(Flight {
            number,
            closing,
            parts,
            refused: false,
        });
        Nonces(number)
    }

    /// The proxy took a response.
    pub fn accepted(&mut self, nonce: &str) -> Answer {
        match self.find(nonce) {
            None => Answer::Stale,
            Some((_, Place::Part(_))) => Answer::Received,
            Some((index, Place::Closing)) => {
                // Answers come in order: what was sent before has been dealt with too.
                match self.batches.drain(..=index).next_back() {
                    Some(flight) if !flight.refused => Answer::Applied(flight.closing),
                    _ => Answer::Received,
                }
            }
        }
    }

    /// The proxy refused a response.
    pub fn refused(&mut self, nonce: &str) -> Answer {
        let Some((index, place)) = self.find(nonce) else {
            return Answer::Stale;
        };
        let Some(flight) = self.batches.get_mut(index) else {
            return Answer::Stale;
        };
        flight.refused = true;
        let revision = flight.closing.revision;
        match place {
            Place::Closing => {
                let mut culprits = Vec::new();
                for flight in self.batches.drain(..=index) {
                    culprits.extend(flight.parts);
                }
                Answer::Refused {
                    revision,
                    culprits,
                    others: Vec::new(),
                }
            }
            Place::Part(part) => {
                let culprits = flight.parts.get(part).cloned().into_iter().collect();
                let others = flight
                    .parts
                    .iter()
                    .enumerate()
                    .filter(|(index, _)| *index != part);
                let others = others.map(|(_, part)| part.clone()).collect();
                Answer::Refused {
                    revision,
                    culprits,
                    others,
                }
            }
        }
    }

    fn find(&self, nonce: &str) -> Option<(usize, Place)> {
        let (batch, place) = nonce.split_once('.')?;
        let batch: u64 = batch.parse().ok()?;
        let place = match place {
            "end" => Place::Closing,
            part => Place::Part(part.parse().ok()?),
        };
        let index = self
            .batches
            .iter()
            .position(|flight| flight.number == batch)?;
        Some((index, place))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Part(usize),
    Closing,
}

#[cfg(test)]
mod tests;
