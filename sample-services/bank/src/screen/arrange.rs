//! Which form of each block is shown, so that all of them fit on the terminal. Pure.
//!
//! Why forms and not cutting at the bottom: on 24 lines what was cut off was what to try, which is what the
//! screen is for.

use super::line::Line;

/// A part of the screen: the least of it, then more and more.
#[derive(Debug)]
pub(super) struct Block {
    /// Who gets room first; the screen's order is another thing.
    pub(super) rank: u8,
    pub(super) forms: Vec<Vec<Line>>,
}

/// One line for each row of the screen, at most `height`.
///
/// Each block has its least form; then, in order of rank, each grows as far as there is room.
pub(super) fn arrange(blocks: &[Block], height: usize) -> Vec<Line> {
    let mut order: Vec<usize> = (0..blocks.len()).collect();
    order.sort_by_key(|index| blocks.get(*index).map(|block| block.rank));
    let mut chosen: Vec<&[Line]> = blocks
        .iter()
        .map(|block| block.forms.first().map_or(&[][..], Vec::as_slice))
        .collect();
    let mut room = height.checked_sub(chosen.iter().map(|form| form.len()).sum());
    if let Some(room) = &mut room {
        for index in order {
            let (Some(block), Some(form)) = (blocks.get(index), chosen.get_mut(index)) else {
                continue;
            };
            for fuller in &block.forms {
                if fuller.len() <= form.len() + *room {
                    *room = *room + form.len() - fuller.len();
                    *form = fuller;
                }
            }
        }
    }
    let lines = chosen.into_iter().flatten().cloned();
    lines.take(height).collect()
}

#[cfg(test)]
mod tests;
