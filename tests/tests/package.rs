//! What `./package` makes: a Debian package and a tarball, of the binary that all tests drive.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use tests::binary::{howdah_binary, root};
use tests::command::finish;

const UNITS: [&str; 4] = ["chunkmaster", "chunkserver", "jobtracker", "tasktracker"];

/// Whether there is what packages are made with.
fn can_be_made() -> bool {
    let missing = ["dpkg-deb", "strip", "objdump"]
        .into_iter()
        .find(|tool| Command::new(tool).arg("--version").output().is_err());
    if let Some(tool) = missing {
        println!("skipped: '{tool}' is not installed");
    }
    missing.is_none()
}

/// The files below a folder, as paths from there.
fn files_in(folder: &Path) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("a folder").map(|entry| entry.expect("an entry")) {
            match entry.file_type().expect("a type").is_dir() {
                true => folders.push(entry.path()),
                false => {
                    let path = entry.path();
                    let path = path.strip_prefix(folder).expect("it is below").display();
                    let _new = files.insert(path.to_string());
                }
            }
        }
    }
    files
}

/// Of the Debian package, beside what its units name.
const EXPECTED: [&str; 12] = [
    "usr/lib/sysusers.d/howdah.conf",
    "usr/share/man/man1/howdah.1.gz",
    "usr/share/man/man1/howdah-fs-put.1.gz",
    "usr/share/bash-completion/completions/howdah",
    "usr/share/zsh/vendor-completions/_howdah",
    "usr/share/fish/vendor_completions.d/howdah.fish",
    "usr/share/doc/howdah/copyright",
    "usr/share/doc/howdah/config/five-hosts.yaml",
    "usr/share/doc/howdah/docs/from-zero-to-five-hosts.md",
    "usr/share/doc/howdah/docs/design/journals.md",
    "usr/share/doc/howdah/docs/openapi/jobtracker.json",
    "usr/share/doc/howdah/dashboards/METRICS.md",
];

#[test]
fn the_packages_hold_what_the_pages_say_where_the_units_look_for_it() {
    if !can_be_made() {
        return;
    }
    let out = tempfile::tempdir().expect("a temporary folder");
    let mut make = Command::new(root().join("package"));
    make.arg("--binary").arg(howdah_binary()).arg("--out").arg(out.path());
    let made = finish(&mut make).success().text();
    let made: Vec<&Path> = made.lines().map(Path::new).collect();
    let &[deb, tarball] = made.as_slice() else { panic!("two packages: {made:?}") };

    // The Debian package, unpacked without being installed.
    let unpacked = out.path().join("unpacked");
    let _ = finish(Command::new("dpkg-deb").arg("--raw-extract").arg(deb).arg(&unpacked)).success();
    let files = files_in(&unpacked);
    let control = fs::read_to_string(unpacked.join("DEBIAN/control")).expect("it has one");
    for line in ["Package: howdah", "Depends: libc6 (>= 2.", "Description: MapReduce"] {
        assert!(control.contains(line), "{line}: {control}");
    }
    let conffiles = fs::read_to_string(unpacked.join("DEBIAN/conffiles")).expect("it has some");
    let conffiles: Vec<&str> = conffiles.lines().collect();
    let in_etc = files.iter().filter(|file| file.starts_with("etc/"));
    let in_etc: Vec<String> = in_etc.map(|file| format!("/{file}")).collect();
    assert_eq!(conffiles, in_etc, "what people edit is kept when the package is replaced");
    for daemon in UNITS {
        let unit = format!("usr/lib/systemd/system/howdah-{daemon}.service");
        let unit = fs::read_to_string(unpacked.join(unit)).expect("each daemon has a unit");
        let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/"));
        let words: Vec<&str> = start.expect("it starts").split(' ').collect();
        assert!(files.contains(words[0]), "{} is not in the package", words[0]);
        let config = words.iter().skip_while(|word| **word != "--config").nth(1);
        let config = config.expect("a configuration").trim_start_matches('/');
        assert!(files.contains(config), "{config} is not in the package");
    }
    for file in EXPECTED {
        assert!(files.contains(file), "{file} is not in {files:#?}");
    }
    for script in ["postinst", "prerm", "postrm"] {
        let _ = finish(Command::new("sh").arg("-n").arg(unpacked.join("DEBIAN").join(script)))
            .success();
    }
    let config = unpacked.join("etc/howdah/howdah.yaml");
    let shipped = unpacked.join("usr/bin/howdah");
    let _ = finish(Command::new(&shipped).args(["config", "check"]).arg(config)).success();

    // The tarball, as the page of five hosts has it.
    let there = out.path().join("there");
    fs::create_dir(&there).expect("a folder can be made");
    let mut unpack = Command::new("tar");
    let _ = finish(unpack.arg("-C").arg(&there).arg("-xzf").arg(tarball)).success();
    let name = tarball.file_name().expect("a name").to_str().expect("text");
    let release = there.join(name.strip_suffix(".tar.gz").expect("a tarball"));
    let files = files_in(&release);
    for file in ["howdah", "config/systemd/howdah-chunkmaster.service", "config/howdah.yaml"] {
        assert!(files.contains(file), "{file} is not in {files:#?}");
    }
    for file in ["README.md", "man/man1/howdah-doctor.1", "completions/zsh/_howdah"] {
        assert!(files.contains(file), "{file} is not in {files:#?}");
    }
    let version = |binary: &Path| finish(Command::new(binary).arg("--version")).success().text();
    assert_eq!(version(&release.join("howdah")), version(&howdah_binary()));
    let stem = name.strip_prefix("howdah-").expect("its name");
    assert!(stem.starts_with(version(&howdah_binary()).trim_start_matches("howdah ")));
}
