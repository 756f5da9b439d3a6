//! Go's slice: a window over shared items. Items never change once they are in a list, so sharing is invisible except
//! through capacity: `slice` may reach past the end of the window, as it may in Go.

use std::sync::Arc;

use super::{GoString, Type, UintKind, Value, release};

/// A slice; cheap to clone.
#[derive(Clone)]
pub struct List {
    backing: Arc<Backing>,
    start: usize,
    end: usize,
    /// Where the capacity ends, as an index into the backing items.
    limit: usize,
}

struct Backing {
    element: Type,
    items: Vec<Value>,
    is_nil: bool,
}

impl Drop for Backing {
    fn drop(&mut self) {
        if self.items.iter().any(Value::is_container) {
            release(std::mem::take(&mut self.items));
        }
    }
}

impl List {
    /// A list of `interface {}`; no value becomes the nil interface.
    pub fn of(items: Vec<Value>) -> List {
        List::typed(Type::Any, items)
    }

    /// A list of strings.
    pub fn strings<T: Into<GoString>>(items: impl IntoIterator<Item = T>) -> List {
        List::typed(Type::String, items.into_iter().map(|item| Value::String(item.into())).collect())
    }

    /// A list of bytes.
    pub fn bytes(bytes: &[u8]) -> List {
        let items = bytes.iter().map(|byte| Value::Uint(u64::from(*byte), UintKind::Uint8)).collect();
        List::typed(Type::Uint(UintKind::Uint8), items)
    }

    /// A list whose elements have the static type `element`. The caller sees to it that the items are of that type.
    pub fn typed(element: Type, items: Vec<Value>) -> List {
        let items: Vec<Value> = items.into_iter().map(Value::or_nil).collect();
        let end = items.len();
        List { backing: Arc::new(Backing { element, items, is_nil: false }), start: 0, end, limit: end }
    }

    /// The nil slice of that element type.
    pub fn nil(element: Type) -> List {
        List { backing: Arc::new(Backing { element, items: Vec::new(), is_nil: true }), start: 0, end: 0, limit: 0 }
    }

    /// Whether this is the nil slice, not just an empty one.
    pub fn is_nil(&self) -> bool {
        self.backing.is_nil
    }

    /// The static type of the elements.
    pub fn element_type(&self) -> &Type {
        &self.backing.element
    }

    /// The items.
    pub fn items(&self) -> &[Value] {
        &self.backing.items[self.start..self.end]
    }

    /// Number of items.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether there are no items.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Go's `cap`.
    pub fn capacity(&self) -> usize {
        self.limit - self.start
    }

    /// The item at `index`.
    pub fn get(&self, index: usize) -> Option<&Value> {
        self.items().get(index)
    }

    /// `list[from:to:limit]`; `None` when not `from <= to <= limit <= capacity`. Without a limit the capacity stays.
    pub fn window(&self, from: usize, to: usize, limit: Option<usize>) -> Option<List> {
        let limit = limit.unwrap_or_else(|| self.capacity());
        if from > to || to > limit || limit > self.capacity() {
            return None;
        }
        let (start, end, limit) = (self.start + from, self.start + to, self.start + limit);
        Some(List { backing: Arc::clone(&self.backing), start, end, limit })
    }

    /// The bytes of a list of `uint8`; `None` for another element type.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        if *self.element_type() != Type::Uint(UintKind::Uint8) {
            return None;
        }
        let byte = |item: &Value| match item {
            Value::Uint(number, _) => *number as u8,
            _ => 0,
        };
        Some(self.items().iter().map(byte).collect())
    }

    /// Whether both are the very same window of the very same items.
    pub fn is_same(&self, other: &List) -> bool {
        Arc::ptr_eq(&self.backing, &other.backing) && self.start == other.start && self.end == other.end
    }

    /// A number that stands for the list's place in memory, for `%p`.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.backing).addr()
    }

    /// Gives up the list; if nobody else holds the items, they are moved to `waiting` instead of being dropped here.
    pub(super) fn release_into(self, waiting: &mut Vec<Value>) {
        if let Some(mut backing) = Arc::into_inner(self.backing) {
            waiting.append(&mut backing.items);
        }
    }
}
