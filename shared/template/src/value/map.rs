//! Go's map: a reference. Everyone who holds the map sees what anyone sets in it. Iteration is in the order in which
//! Go's templates and `fmt` walk a map: sorted by key.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{FloatKind, GoString, IntKind, Type, UintKind, Value, release};
use crate::function::FunctionError;

/// A key of a map: what Go can hash, of the kinds that templates can make.
#[derive(Debug, Clone)]
pub enum MapKey {
    /// The nil interface.
    Nil,
    /// A bool.
    Bool(bool),
    /// A floating-point number.
    Float(f64, FloatKind),
    /// A signed integer.
    Int(i64, IntKind),
    /// A string.
    String(GoString),
    /// An unsigned integer.
    Uint(u64, UintKind),
}

/// A key without its allocation, for look-ups.
#[derive(Clone, Copy)]
enum KeyView<'a> {
    Nil,
    Bool(bool),
    Float(f64, FloatKind),
    Int(i64, IntKind),
    String(&'a [u8]),
    Uint(u64, UintKind),
}

trait Viewed {
    fn view(&self) -> KeyView<'_>;
}

impl KeyView<'_> {
    /// Nil first, then types by their names, then values.
    fn order(self, other: KeyView<'_>) -> Ordering {
        match (self, other) {
            (KeyView::Bool(one), KeyView::Bool(two)) => one.cmp(&two),
            (KeyView::Float(one, one_kind), KeyView::Float(two, two_kind)) => {
                // 0.0 and -0.0 are one key; total_cmp would part them.
                let (one, two) = (one + 0.0, two + 0.0);
                one_kind.cmp(&two_kind).then_with(|| one.partial_cmp(&two).unwrap_or_else(|| one.total_cmp(&two)))
            }
            (KeyView::Int(one, one_kind), KeyView::Int(two, two_kind)) => one_kind.cmp(&two_kind).then(one.cmp(&two)),
            (KeyView::String(one), KeyView::String(two)) => one.cmp(two),
            (KeyView::Uint(one, one_kind), KeyView::Uint(two, two_kind)) => one_kind.cmp(&two_kind).then(one.cmp(&two)),
            (one, two) => one.rank().cmp(&two.rank()),
        }
    }

    fn rank(self) -> u8 {
        match self {
            KeyView::Nil => 0,
            KeyView::Bool(_) => 1,
            KeyView::Float(..) => 2,
            KeyView::Int(..) => 3,
            KeyView::String(_) => 4,
            KeyView::Uint(..) => 5,
        }
    }
}

impl Viewed for MapKey {
    fn view(&self) -> KeyView<'_> {
        match self {
            MapKey::Nil => KeyView::Nil,
            MapKey::Bool(flag) => KeyView::Bool(*flag),
            MapKey::Float(number, kind) => KeyView::Float(*number, *kind),
            MapKey::Int(number, kind) => KeyView::Int(*number, *kind),
            MapKey::String(text) => KeyView::String(text),
            MapKey::Uint(number, kind) => KeyView::Uint(*number, *kind),
        }
    }
}

impl Viewed for &[u8] {
    fn view(&self) -> KeyView<'_> {
        KeyView::String(self)
    }
}

impl<'a> Borrow<dyn Viewed + 'a> for MapKey {
    fn borrow(&self) -> &(dyn Viewed + 'a) {
        self
    }
}

impl PartialEq for dyn Viewed + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for dyn Viewed + '_ {}

impl PartialOrd for dyn Viewed + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for dyn Viewed + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.view().order(other.view())
    }
}

impl PartialEq for MapKey {
    fn eq(&self, other: &MapKey) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for MapKey {}

impl PartialOrd for MapKey {
    fn partial_cmp(&self, other: &MapKey) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for MapKey {
    fn cmp(&self, other: &MapKey) -> Ordering {
        self.view().order(other.view())
    }
}

impl MapKey {
    /// The value as a key; the error is Go's panic for a value that cannot be hashed.
    pub fn of(value: &Value) -> Result<MapKey, FunctionError> {
        match value {
            Value::NoValue | Value::Nil => Ok(MapKey::Nil),
            Value::Bool(flag) => Ok(MapKey::Bool(*flag)),
            Value::Int(number, kind) => Ok(MapKey::Int(*number, *kind)),
            Value::Uint(number, kind) => Ok(MapKey::Uint(*number, *kind)),
            Value::Float(number, kind) => Ok(MapKey::Float(*number, *kind)),
            Value::String(text) => Ok(MapKey::String(text.clone())),
            Value::Complex(..) | Value::List(_) | Value::Map(_) | Value::Object(_) | Value::Function(_) => {
                let name = value.type_name();
                Err(FunctionError::new(format!("runtime error: hash of unhashable type {name}")))
            }
        }
    }

    /// The key as a value.
    pub fn to_value(&self) -> Value {
        match self {
            MapKey::Nil => Value::Nil,
            MapKey::Bool(flag) => Value::Bool(*flag),
            MapKey::Float(number, kind) => Value::Float(*number, *kind),
            MapKey::Int(number, kind) => Value::Int(*number, *kind),
            MapKey::String(text) => Value::String(text.clone()),
            MapKey::Uint(number, kind) => Value::Uint(*number, *kind),
        }
    }
}

/// A map; a clone is another hold of the same map.
#[derive(Clone)]
pub struct Map(Arc<Shared>);

struct Shared {
    key: Type,
    value: Type,
    is_nil: bool,
    entries: RwLock<BTreeMap<MapKey, Value>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        let entries = self.entries.get_mut().unwrap_or_else(PoisonError::into_inner);
        if entries.values().any(Value::is_container) {
            release(std::mem::take(entries).into_values().collect());
        }
    }
}

impl Default for Map {
    fn default() -> Map {
        Map::new()
    }
}

impl Map {
    /// An empty `map[string]interface {}`.
    pub fn new() -> Map {
        Map::typed(Type::String, Type::Any)
    }

    /// An empty `map[interface {}]interface {}`, as YAML gives for nested mappings.
    pub fn any_keys() -> Map {
        Map::typed(Type::Any, Type::Any)
    }

    /// An empty map of the given static types. The caller sees to it that entries are of those types.
    pub fn typed(key: Type, value: Type) -> Map {
        Map(Arc::new(Shared { key, value, is_nil: false, entries: RwLock::default() }))
    }

    /// The nil map of the given types: reads as an empty one, refuses to be set.
    pub fn nil(key: Type, value: Type) -> Map {
        Map(Arc::new(Shared { key, value, is_nil: true, entries: RwLock::default() }))
    }

    /// A `map[string]interface {}` of the given entries; of equal keys the last one stays.
    pub fn from_entries<K: Into<GoString>>(entries: impl IntoIterator<Item = (K, Value)>) -> Map {
        let entries = entries.into_iter().map(|(key, value)| (MapKey::String(key.into()), value.or_nil())).collect();
        Map(Arc::new(Shared { key: Type::String, value: Type::Any, is_nil: false, entries: RwLock::new(entries) }))
    }

    /// The static type of the keys.
    pub fn key_type(&self) -> &Type {
        &self.0.key
    }

    /// The static type of the values.
    pub fn value_type(&self) -> &Type {
        &self.0.value
    }

    /// Whether this is the nil map, not just an empty one.
    pub fn is_nil(&self) -> bool {
        self.0.is_nil
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.read().is_empty()
    }

    /// The value under a string key.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<Value> {
        let key: &[u8] = key.as_ref();
        self.read().get(&key as &dyn Viewed).cloned()
    }

    /// Whether there is an entry under a string key.
    pub fn contains(&self, key: impl AsRef<[u8]>) -> bool {
        let key: &[u8] = key.as_ref();
        self.read().contains_key(&key as &dyn Viewed)
    }

    /// The value under any key.
    pub fn get_key(&self, key: &MapKey) -> Option<Value> {
        self.read().get(key).cloned()
    }

    /// Sets a string key. The error is Go's panic for the nil map.
    pub fn set(&self, key: impl Into<GoString>, value: Value) -> Result<(), FunctionError> {
        self.set_key(MapKey::String(key.into()), value)
    }

    /// Sets any key. The error is Go's panic for the nil map.
    pub fn set_key(&self, key: MapKey, value: Value) -> Result<(), FunctionError> {
        if self.is_nil() {
            return Err(FunctionError::new("assignment to entry in nil map"));
        }
        let former = self.write().insert(key, value.or_nil());
        // Freed after the lock is let go: a value may hold this very map.
        drop(former);
        Ok(())
    }

    /// Removes a string key; what was there.
    pub fn remove(&self, key: impl AsRef<[u8]>) -> Option<Value> {
        let key: &[u8] = key.as_ref();
        self.write().remove(&key as &dyn Viewed)
    }

    /// All keys, in order.
    pub fn keys(&self) -> Vec<MapKey> {
        self.read().keys().cloned().collect()
    }

    /// All values, in the order of their keys.
    pub fn values(&self) -> Vec<Value> {
        self.read().values().cloned().collect()
    }

    /// All entries as they are now, in the order of their keys.
    pub fn entries(&self) -> Vec<(MapKey, Value)> {
        self.read().iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// A new map with the same entries and types: a shallow copy, never nil.
    pub fn copy(&self) -> Map {
        let entries = RwLock::new(self.read().clone());
        Map(Arc::new(Shared { key: self.0.key.clone(), value: self.0.value.clone(), is_nil: false, entries }))
    }

    /// Whether both are holds of one map.
    pub fn is_same(&self, other: &Map) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// A number that stands for the map's place in memory, for `%p`.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// Gives up the map; if nobody else holds it, its values are moved to `waiting` instead of being dropped here.
    pub(super) fn release_into(self, waiting: &mut Vec<Value>) {
        if let Some(mut shared) = Arc::into_inner(self.0) {
            let entries = shared.entries.get_mut().unwrap_or_else(PoisonError::into_inner);
            waiting.extend(std::mem::take(entries).into_values());
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<MapKey, Value>> {
        self.0.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<MapKey, Value>> {
        self.0.entries.write().unwrap_or_else(PoisonError::into_inner)
    }
}
