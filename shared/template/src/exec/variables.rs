//! The variables of an executing template: a stack on which each finds its latest namesake at once.

use super::Slot;
use crate::parse::tree::VariableId;

#[derive(Default)]
pub(super) struct Variables {
    stack: Vec<Variable>,
    /// For each name, where on the stack its latest variable is.
    latest: Vec<Option<usize>>,
}

struct Variable {
    id: VariableId,
    slot: Slot,
    /// Where the variable of the same name is that this one hides.
    hidden: Option<usize>,
}

impl Variables {
    pub(super) fn len(&self) -> usize {
        self.stack.len()
    }

    pub(super) fn push(&mut self, id: VariableId, slot: Slot) {
        let name = id as usize;
        if self.latest.len() <= name {
            self.latest.resize(name + 1, None);
        }
        let hidden = self.latest[name].replace(self.stack.len());
        self.stack.push(Variable { id, slot, hidden });
    }

    /// The latest variable of that name.
    pub(super) fn get(&mut self, id: VariableId) -> Option<&mut Slot> {
        let place = (*self.latest.get(id as usize)?)?;
        self.stack.get_mut(place).map(|variable| &mut variable.slot)
    }

    /// Sets the variable at that place of the stack.
    pub(super) fn set_at(&mut self, place: usize, slot: Slot) {
        if let Some(variable) = self.stack.get_mut(place) {
            variable.slot = slot;
        }
    }

    /// Drops all but the first `length` variables.
    pub(super) fn truncate(&mut self, length: usize) {
        while self.stack.len() > length {
            if let Some(variable) = self.stack.pop() {
                self.latest[variable.id as usize] = variable.hidden;
            }
        }
    }
}
