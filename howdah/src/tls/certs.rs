//! Makes the certificates of a cluster: an authority of its own, once, and what it signs for each host. Keys are of the curve
//! P-256 (FIPS 186-5), which every TLS library has.
//!
//! ```text
//! DIR/ca.pem  DIR/ca-key.pem         the authority; its key signs further hosts, and goes to none of them
//! DIR/HOST/{ca,cert,key}.pem         all that HOST needs
//! ```

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use config::Config;
use ids::UnixMillis;
use net::tls::{Certificate, Validity, certificates_in};
use net::{TlsError, random_hex};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use tempfile::NamedTempFile;

/// Days that an authority counts.
const AUTHORITY_DAYS: u32 = 3650;
const DAY: Duration = Duration::from_hours(24);
/// Certificates count from a little earlier on: the hosts' clocks differ.
const CLOCKS_DIFFER: Duration = Duration::from_hours(1);

const PRIVATE: u32 = 0o600;
const PUBLIC: u32 = 0o644;

/// Why there are no new certificates.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertsError {
    /// There are some already.
    #[error(
        "{} exists: daemons may use it; add --replace for a new certificate and key in its place, or name another --dir",
        path.display()
    )]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The authority's key is elsewhere, or lost.
    #[error(
        "{} is there and {} is not, which signs certificates: put it back, or begin a new authority in another --dir \
         (all hosts need its ca.pem then)", cert.display(), key.display()
    )]
    NoAuthorityKey {
        /// The authority's certificate.
        cert: PathBuf,
        /// Where its key should be.
        key: PathBuf,
    },
    /// The authority has come to its end.
    #[error("the authority {certificate} in {} {when}: begin a new one in another --dir", path.display())]
    AuthorityEnded {
        /// Its file.
        path: PathBuf,
        /// Whose it is.
        certificate: Box<Certificate>,
        /// How long ago.
        when: String,
    },
    /// A name that no host can have.
    #[error(
        "--name {name}: {part:?} is no host name and no address; write names and addresses with commas between, like host-1,10.0.0.1"
    )]
    Name {
        /// The whole value.
        name: String,
        /// What is wrong with it.
        part: String,
    },
    /// Two certificates for one folder.
    #[error(
        "{name} is named twice: one certificate is for all names of a host, --name host-1,10.0.0.1"
    )]
    Twice {
        /// The first name of both.
        name: String,
    },
    /// A file can't be written or read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is there is no certificate.
    #[error(transparent)]
    Read(#[from] TlsError),
    /// The library refuses.
    #[error("no certificate could be made: {0}")]
    Make(#[from] rcgen::Error),
}

/// What to make.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    /// The folder of all.
    pub(crate) dir: PathBuf,
    /// The names and addresses of each host; the first is its folder's.
    pub(crate) hosts: Vec<Vec<String>>,
    /// Days that the hosts' certificates count.
    pub(crate) days: u32,
    /// Whether what is there is replaced.
    pub(crate) replace: bool,
}

/// What was made.
#[derive(Debug)]
pub(crate) struct Made {
    /// The authority.
    pub(crate) authority: Certificate,
    /// Its file.
    pub(crate) authority_file: PathBuf,
    /// Its key.
    pub(crate) authority_key: PathBuf,
    /// Whether it is new.
    pub(crate) is_new: bool,
    /// Each host's folder and certificate.
    pub(crate) hosts: Vec<(PathBuf, Certificate)>,
}

/// The names of one host, as `--name` has them.
pub(crate) fn names_of(name: &str) -> Result<Vec<String>, CertsError> {
    let parts = name.split(',').map(str::trim);
    let checked = parts.map(|part| match is_name(part) {
        true => Ok(part.to_owned()),
        false => Err(CertsError::Name { name: name.to_owned(), part: part.to_owned() }),
    });
    checked.collect()
}

fn is_name(part: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
            && !label.starts_with('-')
    };
    part.parse::<std::net::IpAddr>().is_ok() || part.len() <= 253 && part.split('.').all(label)
}

/// The hosts of a configuration, each with all that others call it by; a master's, where it is none of these.
pub(crate) fn hosts_of(config: &Config) -> Vec<Vec<String>> {
    let host_of = |address: &str| {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        host.trim_matches(['[', ']']).to_owned()
    };
    let mut hosts: Vec<Vec<String>> = Vec::new();
    for host in config.all_hosts() {
        let mut names = vec![host.name];
        for name in [host_of(&host.chunkserver_address), host_of(&host.tasktracker_address)] {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        hosts.push(names);
    }
    for master in [&config.chunkmaster.address, &config.jobtracker.address] {
        let name = host_of(master);
        if !hosts.iter().any(|names| names.contains(&name)) {
            hosts.push(vec![name]);
        }
    }
    hosts
}

/// Makes them; the authority too, unless the folder has one. Nothing is made where something is in the way.
pub(crate) fn make(order: &Order) -> Result<Made, CertsError> {
    let Order { dir, hosts, days, replace } = order;
    let firsts = || hosts.iter().filter_map(|names| names.first());
    for (at, name) in firsts().enumerate() {
        if firsts().take(at).any(|before| before == name) {
            return Err(CertsError::Twice { name: name.clone() });
        }
        let files = ["cert.pem", "key.pem"].map(|file| dir.join(name).join(file));
        if let Some(path) = files.into_iter().find(|path| path.exists() && !replace) {
            return Err(CertsError::Exists { path });
        }
    }
    make_folder(dir)?;
    let now = clock::wall();
    let (cert, key) = (dir.join("ca.pem"), dir.join("ca-key.pem"));
    let is_new = !cert.exists();
    if is_new {
        make_authority(&cert, &key, now)?;
    } else if !key.exists() {
        return Err(CertsError::NoAuthorityKey { cert, key });
    }
    let authority = certificates_in(&cert)?.remove(0);
    if let (Validity::Ended, Some(when)) = (authority.validity(now), authority.fault_of_time(now)) {
        let certificate = Box::new(authority);
        return Err(CertsError::AuthorityEnded { path: cert, certificate, when });
    }
    let read = |path: &Path| {
        fs::read_to_string(path).map_err(|source| CertsError::Io { path: path.to_owned(), source })
    };
    let authority_pem = read(&cert)?;
    let issuer = Issuer::from_ca_cert_pem(&authority_pem, KeyPair::from_pem(&read(&key)?)?)?;
    let ends = (now + DAY * *days).min(authority.not_after);
    let mut made = Vec::with_capacity(hosts.len());
    for names in hosts {
        let folder = dir.join(&names[0]);
        make_folder(&folder)?;
        let (host_cert, host_key) = sign(names, &issuer, (now, ends))?;
        // The certificate last: whoever copies them while they are made has none, rather than one without its key.
        write(&folder.join("ca.pem"), &authority_pem, PUBLIC, true)?;
        write(&folder.join("key.pem"), &host_key, PRIVATE, *replace)?;
        write(&folder.join("cert.pem"), &host_cert, PUBLIC, *replace)?;
        let certificate = certificates_in(&folder.join("cert.pem"))?.remove(0);
        made.push((folder, certificate));
    }
    Ok(Made { authority, authority_file: cert, authority_key: key, is_new, hosts: made })
}

fn make_authority(cert: &Path, key: &Path, now: UnixMillis) -> Result<(), CertsError> {
    let mut params = CertificateParams::default();
    // Two clusters' authorities are told apart by people, too.
    params.distinguished_name = named(&format!("Howdah cluster authority {}", random_hex(4)));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = lasting(now, now + DAY * AUTHORITY_DAYS);
    let pair = KeyPair::generate()?;
    let certificate = params.self_signed(&pair)?;
    write(key, &pair.serialize_pem(), PRIVATE, false)?;
    write(cert, &certificate.pem(), PUBLIC, false)
}

/// A host's certificate and key, in PEM: for its listeners, and for what it asks of others.
fn sign(
    names: &[String],
    issuer: &Issuer<'_, KeyPair>,
    (now, ends): (UnixMillis, UnixMillis),
) -> Result<(String, String), CertsError> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = named(&names[0]);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    (params.not_before, params.not_after) = lasting(now, ends);
    let pair = KeyPair::generate()?;
    let certificate = params.signed_by(&pair, issuer)?;
    Ok((certificate.pem(), pair.serialize_pem()))
}

fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, name);
    named
}

fn lasting<T: From<std::time::SystemTime>>(now: UnixMillis, ends: UnixMillis) -> (T, T) {
    let at = |millis: u64| T::from(UNIX_EPOCH + Duration::from_millis(millis));
    let early = u64::try_from(CLOCKS_DIFFER.as_millis()).unwrap_or_default();
    (at(now.0.saturating_sub(early)), at(ends.0))
}

fn make_folder(path: &Path) -> Result<(), CertsError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| CertsError::Io { path: path.to_owned(), source })
}

/// A file that is there whole or not at all.
fn write(path: &Path, text: &str, mode: u32, replace: bool) -> Result<(), CertsError> {
    let io = |source| CertsError::Io { path: path.to_owned(), source };
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = NamedTempFile::new_in(folder).map_err(io)?;
    file.write_all(text.as_bytes()).map_err(io)?;
    file.as_file().set_permissions(Permissions::from_mode(mode)).map_err(io)?;
    file.as_file().sync_all().map_err(io)?;
    let kept = match replace {
        true => file.persist(path),
        false => file.persist_noclobber(path),
    };
    match kept {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
            Err(CertsError::Exists { path: path.to_owned() })
        }
        Err(error) => Err(io(error.error)),
    }
}

#[cfg(test)]
mod tests {
    use net::{OwnFiles, Tls, TlsFiles};

    use super::*;

    fn order(dir: &Path, names: &[&str]) -> Order {
        let hosts = names.iter().map(|name| names_of(name).unwrap()).collect();
        Order { dir: dir.to_owned(), hosts, days: 365, replace: false }
    }

    fn files(folder: &Path) -> TlsFiles {
        let own = OwnFiles { cert: folder.join("cert.pem"), key: folder.join("key.pem") };
        TlsFiles { ca: folder.join("ca.pem"), own: Some(own) }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn each_host_gets_what_a_daemon_takes_and_the_authoritys_key_stays() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("certs");
        let made = make(&order(&dir, &["host-1,10.0.0.1,::1", "host-2"])).unwrap();
        assert!(made.is_new && made.authority.is_authority);
        // It may be a second later.
        assert!((3649..=3650).contains(&made.authority.days_left(clock::wall())));
        assert_eq!(mode(&dir.join("ca-key.pem")), 0o600);
        for (host, names) in
            [("host-1", &["host-1", "10.0.0.1", "::1"][..]), ("host-2", &["host-2"])]
        {
            let host = dir.join(host);
            assert_eq!(mode(&host.join("key.pem")), 0o600);
            let tls = Tls::open(files(&host)).unwrap();
            let own = tls.own_certificate().unwrap();
            assert_eq!(own.names, names);
            assert!((364..=365).contains(&own.days_left(clock::wall())));
            assert_eq!(own.issuer, made.authority.subject);
            let there: Vec<_> =
                fs::read_dir(&host).unwrap().flatten().map(|it| it.file_name()).collect();
            assert_eq!(there.len(), 3, "no more is copied: {there:?}");
        }
    }

    #[test]
    fn a_further_host_is_signed_by_the_same_authority_and_nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let first = make(&order(folder.path(), &["a"])).unwrap();
        let key = fs::read(folder.path().join("a/key.pem")).unwrap();
        let refused = make(&order(folder.path(), &["b", "a"])).unwrap_err().to_string();
        assert!(refused.contains("a/cert.pem") && refused.contains("--replace"), "{refused}");
        assert!(!folder.path().join("b").exists(), "nothing is made where something is in the way");
        let second = make(&order(folder.path(), &["b"])).unwrap();
        assert!(!second.is_new && second.authority == first.authority);
        assert_eq!(fs::read(folder.path().join("a/key.pem")).unwrap(), key);
        make(&Order { replace: true, ..order(folder.path(), &["a"]) }).unwrap();
        assert_ne!(fs::read(folder.path().join("a/key.pem")).unwrap(), key);
        Tls::open(files(&folder.path().join("a"))).unwrap();
        fs::remove_file(folder.path().join("ca-key.pem")).unwrap();
        let refused = make(&order(folder.path(), &["c"])).unwrap_err().to_string();
        assert!(refused.contains("ca-key.pem"), "{refused}");
    }

    #[test]
    fn names_are_checked_before_anything_is_made() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["", "a,", "a b", "../a", "a/b", "-a", "a..b", "10.0.0.1:80"] {
            assert!(matches!(names_of(name), Err(CertsError::Name { .. })), "{name}");
        }
        assert_eq!(names_of("a_1, b.example.org").unwrap(), ["a_1", "b.example.org"]);
        let twice = make(&order(folder.path(), &["a", "a,b"])).unwrap_err();
        assert!(matches!(twice, CertsError::Twice { .. }), "{twice}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_hosts_of_a_configuration_are_named_as_others_call_them() {
        let text = "cluster: {secret_file: /s}\nchunkmaster: {address: 'm:1'}\njobtracker: {address: 'a.example.org:2'}\nhosts:\n\
                    - {name: a, chunkserver: {address: 'a.example.org:3'}, tasktracker: {address: '[::1]:4'}}\n\
                    - {name: b, chunkserver: {address: 'b:3'}, tasktracker: {address: 'b:4'}}\n";
        let hosts = hosts_of(&config::parse(text, "c.yaml", &[]).unwrap());
        assert_eq!(hosts, [vec!["a", "a.example.org", "::1"], vec!["b"], vec!["m"]]);
    }
}
