//! A queue with one line for each tenant: items come in, and go out in turns of the tenants. It waits for nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

#[derive(Debug)]
pub struct RoundRobin<T> {
    /// None of them is empty.
    lines: HashMap<Arc<str>, VecDeque<T>>,
    /// The tenants that have a line; the first one's turn comes first.
    turns: VecDeque<Arc<str>>,
}

impl<T> Default for RoundRobin<T> {
    fn default() -> RoundRobin<T> {
        RoundRobin { lines: HashMap::new(), turns: VecDeque::new() }
    }
}

impl<T> RoundRobin<T> {
    pub fn push(&mut self, tenant: &Arc<str>, item: T) {
        let line = self.lines.entry(Arc::clone(tenant)).or_insert_with(|| {
            self.turns.push_back(Arc::clone(tenant));
            VecDeque::new()
        });
        line.push_back(item);
    }

    /// The next item of the first tenant that `admit` admits, with what it answered. Who is not admitted keeps its turn.
    pub fn pop<P>(&mut self, admit: impl FnMut(&Arc<str>) -> Option<P>) -> Option<(T, P)> {
        let mut admit = admit;
        let (turn, admitted) = self.turns.iter().enumerate().find_map(|(turn, tenant)| Some((turn, admit(tenant)?)))?;
        let tenant = self.turns.remove(turn).expect("it was found there");
        let line = self.lines.get_mut(&tenant).expect("who has a turn has a line");
        let item = line.pop_front().expect("no line is empty");
        if line.is_empty() {
            self.lines.remove(&tenant);
        } else {
            self.turns.push_back(tenant);
        }
        Some((item, admitted))
    }

    /// Removes an item of a tenant.
    pub fn remove(&mut self, tenant: &Arc<str>, item: &T)
    where
        T: PartialEq,
    {
        let Some(line) = self.lines.get_mut(tenant) else { return };
        line.retain(|queued| queued != item);
        if line.is_empty() {
            self.lines.remove(tenant);
            self.turns.retain(|turn| turn != tenant);
        }
    }

    pub fn has(&self, tenant: &Arc<str>) -> bool {
        self.lines.contains_key(tenant)
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(items: &[(&str, u32)]) -> RoundRobin<u32> {
        let mut queue = RoundRobin::default();
        items.iter().for_each(|(tenant, item)| queue.push(&Arc::from(*tenant), *item));
        queue
    }

    #[test]
    fn tenants_take_turns_and_each_keeps_its_order() {
        let mut queue = queue(&[("a", 1), ("a", 2), ("a", 3), ("b", 4), ("b", 5), ("c", 6)]);
        let order: Vec<u32> = std::iter::from_fn(|| queue.pop(|_| Some(()))).map(|(item, ())| item).collect();
        assert_eq!(order, [1, 4, 6, 2, 5, 3]);
        assert!(queue.is_empty());
    }

    #[test]
    fn who_is_not_admitted_keeps_its_turn() {
        let mut queue = queue(&[("a", 1), ("b", 2), ("b", 3)]);
        let but = |refused: &'static str| move |tenant: &Arc<str>| (&**tenant != refused).then_some(());
        assert_eq!(queue.pop(but("a")), Some((2, ())));
        assert_eq!(queue.pop(|_| Some(())), Some((1, ())));
        assert_eq!(queue.pop(but("b")), None);
        assert_eq!(queue.pop(|_| Some(())), Some((3, ())));
    }

    #[test]
    fn what_was_removed_has_no_turn() {
        let mut queue = queue(&[("a", 1), ("b", 2), ("b", 3)]);
        queue.remove(&Arc::from("a"), &1);
        queue.remove(&Arc::from("b"), &2);
        queue.remove(&Arc::from("c"), &3);
        assert!(!queue.has(&Arc::from("a")));
        assert_eq!(queue.pop(|_| Some(())), Some((3, ())));
        assert_eq!(queue.pop(|_| Some(())), None);
    }
}
