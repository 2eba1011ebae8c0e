//! Where this process' own cgroups are, by what is mounted and which groups it is in. Texts only.

use std::path::{Path, PathBuf};

use super::{Controller, Home, Version};

/// This process' own groups, of the versions and controllers that matter here.
pub(super) fn locate(mountinfo: &str, membership: &str) -> Vec<Home> {
    let mut homes: Vec<Home> = Vec::new();
    for mount in mountinfo.lines().filter_map(Mount::parse) {
        let home = match mount.kind {
            "cgroup" => {
                let controllers = wanted(mount.options);
                let Some(first) = controllers.first() else { continue };
                let folder = mount.own_folder(membership, |names| {
                    names.split(',').any(|name| name == first.name())
                });
                folder.map(|folder| Home { folder, version: Version::V1, controllers })
            }
            "cgroup2" => mount.own_folder(membership, str::is_empty).map(|folder| {
                // Which it has, the probe finds out.
                Home { folder, version: Version::V2, controllers: Controller::ALL.to_vec() }
            }),
            _ => None,
        };
        homes.extend(home.filter(|home| homes.iter().all(|other| other.folder != home.folder)));
    }
    let in_v1: Vec<Controller> = homes
        .iter()
        .filter(|home| home.version == Version::V1)
        .flat_map(|home| home.controllers.clone())
        .collect();
    for home in &mut homes {
        if home.version == Version::V2 {
            home.controllers.retain(|controller| !in_v1.contains(controller));
        }
    }
    homes.retain(|home| !home.controllers.is_empty());
    homes
}

/// Those in a list of names.
fn wanted(names: &str) -> Vec<Controller> {
    let has = |controller: &Controller| names.split(',').any(|name| name == controller.name());
    Controller::ALL.into_iter().filter(has).collect()
}

/// A line of `/proc/self/mountinfo`.
pub(super) struct Mount<'a> {
    /// The folder of the file system that is mounted.
    root: &'a str,
    point: &'a str,
    pub(super) kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    pub(super) fn parse(line: &'a str) -> Option<Self> {
        let (place, system) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let mut system = system.split(' ');
        Some(Self {
            root: place.next()?,
            point: place.next()?,
            kind: system.next()?,
            options: system.nth(1)?,
        })
    }

    /// The folder of this process' group, if this mount shows it.
    pub(super) fn own_folder(
        &self,
        membership: &str,
        is_of: impl Fn(&str) -> bool,
    ) -> Option<PathBuf> {
        let path = membership.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            is_of(controllers).then_some(path)
        })?;
        let below = Path::new(path).strip_prefix(self.root).ok()?;
        Some(Path::new(self.point).join(below))
    }
}
