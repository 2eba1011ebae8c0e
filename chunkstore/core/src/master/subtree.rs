//! Iterates over everything below a folder, each folder before its entries, from any place on: for
//! long answers that are given in steps. The tree may change between two steps; if the place itself
//! is gone, the iteration goes on from where it would be.

use chunkstore_protocol::FileId;

use super::namespace::{EntryKind, Namespace};

/// An iteration over everything below a folder.
pub(super) struct Subtree<'a> {
    tree: &'a Namespace,
    levels: Vec<Level<'a>>,
    relative: String,
}

struct Level<'a> {
    entries: Box<dyn Iterator<Item = (&'a str, FileId)> + 'a>,
    /// Length of the folder's relative path, bytes.
    prefix: usize,
}

impl<'a> Subtree<'a> {
    /// Everything below `top` that comes after the relative path `after`.
    pub(super) fn after(tree: &'a Namespace, top: FileId, after: Option<&str>) -> Self {
        let mut subtree = Self { tree, levels: Vec::new(), relative: String::new() };
        let mut at = Some(top);
        for part in after.into_iter().flat_map(|after| after.split('/')) {
            let Some(folder) = at else { break };
            at = subtree.enter(folder, Some(part));
            if at.is_some() {
                subtree.step(part);
            }
        }
        if let Some(last) = at {
            let _all = subtree.enter(last, None);
        }
        subtree
    }

    /// The next entry, whose path [`Self::relative`] then returns.
    pub(super) fn advance(&mut self) -> Option<FileId> {
        loop {
            let level = self.levels.last_mut()?;
            let Some((name, id)) = level.entries.next() else {
                self.levels.pop();
                continue;
            };
            let prefix = level.prefix;
            self.relative.truncate(prefix);
            self.step(name);
            let _all = self.enter(id, None);
            return Some(id);
        }
    }

    /// The path of the last entry, relative to the top.
    pub(super) fn relative(&self) -> &str {
        &self.relative
    }

    /// Enters a folder at the entries that come after the name `after`. Returns the entry of that
    /// name.
    fn enter(&mut self, id: FileId, after: Option<&str>) -> Option<FileId> {
        let EntryKind::Folder(folder) = &self.tree.entry(id).kind else { return None };
        let entries = Box::new(self.tree.children_after(folder, after));
        self.levels.push(Level { entries, prefix: self.relative.len() });
        self.tree.child(folder, after?)
    }

    fn step(&mut self, name: &str) {
        if !self.relative.is_empty() {
            self.relative.push('/');
        }
        self.relative.push_str(name);
    }
}
