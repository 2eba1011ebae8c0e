//! What is below a folder, each folder before what is in it, from any place on: for long answers that are given
//! in steps. Between two of them the tree may change; a place that is gone is where it would be.

use chunkstore_protocol::FileId;

use super::namespace::{EntryKind, Namespace};

/// An iteration over all below a folder.
pub(super) struct Subtree<'a> {
    tree: &'a Namespace,
    levels: Vec<Level<'a>>,
    relative: String,
}

struct Level<'a> {
    entries: Box<dyn Iterator<Item = (&'a str, FileId)> + 'a>,
    /// Bytes of the relative path of the folder.
    prefix: usize,
}

impl<'a> Subtree<'a> {
    /// All below `top` that comes after the relative path `after`.
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

    /// The next entry; [`Self::relative`] is its path then.
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

    /// Begins with the entries of a folder that come after the name `after`. Returns the entry of that name.
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
