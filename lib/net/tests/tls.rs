//! TLS as daemons and clients meet it: with real sockets, real handshakes, and files that are wrong
//! in every way.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use axum::routing::get;
use ids::UnixMillis;
use net::{
    Access, CallError, Capability, Client, ClientSettings, Guard, Json, Keyring, Listener,
    OwnFiles, Role, Routes, Secret, Tls, TlsFiles,
};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use tempfile::TempDir;

const DAY: i64 = 24 * 3600;

/// A test's certificate authority.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// The contents of a host's certificate.
struct Leaf<'a> {
    names: &'a [&'a str],
    /// Its validity, in seconds from now.
    lasts: (i64, i64),
    uses: Vec<ExtendedKeyUsagePurpose>,
}

impl<'a> Leaf<'a> {
    fn of(names: &'a [&'a str]) -> Self {
        let uses = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        Self { names, lasts: (-DAY, 30 * DAY), uses }
    }
}

fn lasting(params: &mut CertificateParams, (from, to): (i64, i64)) {
    let now = clock::wall().0 / 1000;
    let at = |offset: i64| UNIX_EPOCH + Duration::from_secs(now.saturating_add_signed(offset));
    (params.not_before, params.not_after) = (at(from).into(), at(to).into());
}

impl Authority {
    fn new(name: &str) -> Self {
        Self::lasting(name, (-DAY, 365 * DAY))
    }

    fn lasting(name: &str, lasts: (i64, i64)) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = Default::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        lasting(&mut params, lasts);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Returns certificate and key.
    fn sign(&self, leaf: &Leaf<'_>) -> (String, String) {
        let names: Vec<String> = leaf.names.iter().map(|it| (*it).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names of hosts");
        params.distinguished_name = Default::default();
        params
            .distinguished_name
            .push(DnType::CommonName, leaf.names.first().unwrap_or(&"nameless").to_string());
        params.extended_key_usages.clone_from(&leaf.uses);
        lasting(&mut params, leaf.lasts);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }
}

/// The files of one host.
struct Files(TempDir);

impl Files {
    fn of(authority: &str, (cert, key): &(String, String)) -> Self {
        let this = Self(tempfile::tempdir().expect("a temporary folder"));
        this.write("ca.pem", authority);
        this.write("cert.pem", cert);
        this.write("key.pem", key);
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::write(&path, text).expect("it can be written");
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("it is ours");
    }

    fn all(&self) -> TlsFiles {
        let own = OwnFiles { cert: self.path("cert.pem"), key: self.path("key.pem") };
        TlsFiles { ca: self.path("ca.pem"), own: Some(own) }
    }

    fn tls(&self) -> Tls {
        Tls::open(self.all()).expect("files that can be used")
    }

    fn refusal(&self) -> String {
        Tls::open(self.all()).expect_err("files that can't be used").to_string()
    }
}

/// The files of a daemon on loopback.
fn daemon_files(authority: &Authority) -> Files {
    Files::of(&authority.pem, &authority.sign(&Leaf::of(&["host-1", "localhost", "127.0.0.1"])))
}

struct Server {
    port: u16,
    keyring: Keyring,
}

/// A daemon with a route for people and one for daemons.
fn serve(tls: Option<Tls>) -> Server {
    let keyring = Keyring::new(&Secret::random());
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback socket");
    let port = listener.local_addr().expect("a loopback socket").port();
    let routes = Routes::<()>::new().route("/public", Access::Public, get(async || Json(1))).route(
        "/any",
        Access::ANY_ROLE,
        get(async || Json(2)),
    );
    let router = routes.into_router((), Guard { keyring: keyring.clone(), anonymous: None });
    tokio::spawn(net::serve(Listener::new(listener, tls), router, std::future::pending()));
    Server { port, keyring }
}

impl Server {
    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn token(&self, role: Role) -> String {
        self.keyring.mint(&Capability::unlimited("host-1", role, UnixMillis(u64::MAX)))
    }
}

fn client(tls: Option<Tls>) -> Client {
    let patience = Duration::from_secs(20);
    Client::new(ClientSettings {
        connect_timeout: patience,
        request_timeout: patience,
        silence_timeout: patience,
        tls,
    })
}

fn trusting(authority: &Authority) -> Client {
    client(Some(Tls::of_authorities(&authority.pem).expect("an authority")))
}

async fn ask(client: &Client, address: &str, path: &str) -> Result<u32, CallError> {
    client.get(address, path).await
}

#[tokio::test]
async fn people_need_the_authority_alone_and_daemons_a_certificate_of_it() {
    let authority = Authority::new("ours");
    let files = daemon_files(&authority);
    let server = serve(Some(files.tls()));
    let (people, daemon) = (trusting(&authority), client(Some(files.tls())));
    for address in [server.address(), format!("localhost:{}", server.port)] {
        assert_eq!(ask(&people, &address, "/public").await.unwrap(), 1, "{address}");
    }
    for (role, is_daemon) in [
        (Role::User, false),
        (Role::Task, false),
        (Role::Tracker, true),
        (Role::Server, true),
        (Role::Master, true),
    ] {
        let token = server.token(role);
        let by_daemon = ask(&daemon.with_token(token.as_str()), &server.address(), "/any").await;
        assert_eq!(by_daemon.unwrap(), 2, "{role:?}");
        let bare = ask(&people.with_token(token), &server.address(), "/any").await;
        if !is_daemon {
            assert_eq!(bare.unwrap(), 2, "{role:?}");
            continue;
        }
        let error = bare.unwrap_err();
        let problem = error.problem().unwrap();
        assert_eq!((problem.status, problem.kind.as_str()), (403, "certificate-required"));
        assert!(problem.detail.contains("tls.cert"), "{problem}");
    }
    // In a cluster without TLS only the token counts.
    let plain = serve(None);
    let client = client(None).with_token(plain.token(Role::Server));
    assert_eq!(ask(&client, &plain.address(), "/any").await.unwrap(), 2);
}

#[tokio::test]
async fn who_speaks_otherwise_than_the_port_is_told_so() {
    let authority = Authority::new("ours");
    let server = serve(Some(daemon_files(&authority).tls()));
    let error = ask(&client(None), &server.address(), "/public").await.unwrap_err();
    let problem = error.problem().unwrap();
    assert_eq!((problem.status, problem.kind.as_str()), (400, "tls-required"));
    for word in ["https://", "--cacert", "section tls"] {
        assert!(problem.detail.contains(word), "{problem}");
    }
    let plain = serve(None);
    let error = ask(&trusting(&authority), &plain.address(), "/public").await.unwrap_err();
    assert!(matches!(error, CallError::Untrusted { .. }), "{error:?}");
    assert!(error.is_connect() && error.to_string().contains("does not speak TLS"), "{error}");
}

#[tokio::test]
async fn a_daemon_of_another_authority_or_name_is_not_asked_anything() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let server = serve(Some(daemon_files(&theirs).tls()));
    let error = ask(&trusting(&ours), &server.address(), "/public").await.unwrap_err().to_string();
    for word in
        [&server.address(), "CN=host-1", "signed by CN=theirs", "trusts CN=ours", "certs new"]
    {
        assert!(error.contains(word), "no {word:?} in {error}");
    }
    let leaf = ours.sign(&Leaf::of(&["host-1", "10.0.0.1"]));
    let server = serve(Some(Files::of(&ours.pem, &leaf).tls()));
    let error = ask(&trusting(&ours), &server.address(), "/public").await.unwrap_err().to_string();
    for word in ["for host-1, 10.0.0.1", "not for 127.0.0.1", "--name"] {
        assert!(error.contains(word), "no {word:?} in {error}");
    }
}

/// A server that shows whatever certificate it is given, which no daemon of ours would.
fn serve_blindly((cert, key): &(String, String)) -> String {
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::pem::PemObject as _;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let chain = vec![CertificateDer::from_pem_slice(cert.as_bytes()).expect("PEM")];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("both belong together");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback socket");
    let address = listener.local_addr().expect("a loopback socket").to_string();
    listener.set_nonblocking(true).expect("a socket");
    let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a client");
            let _refused = acceptor.accept(stream).await;
        }
    });
    address
}

#[tokio::test]
async fn the_words_for_a_certificate_that_ended_name_it_and_how_long_ago() {
    let authority = Authority::new("ours");
    let ended = Leaf { lasts: (-30 * DAY, -3 * DAY - 60), ..Leaf::of(&["127.0.0.1"]) };
    let early = Leaf { lasts: (2 * DAY + 600, 9 * DAY), ..Leaf::of(&["127.0.0.1"]) };
    for (leaf, words) in [(ended, "ended 3 days ago"), (early, "counts only in 2 days")] {
        let address = serve_blindly(&authority.sign(&leaf));
        let error = ask(&trusting(&authority), &address, "/").await.unwrap_err();
        let told = error.to_string();
        assert!(matches!(error, CallError::Untrusted { .. }) && error.is_transient(), "{told}");
        for word in [words, "CN=127.0.0.1", address.as_str(), "certs new --replace"] {
            assert!(told.contains(word), "no {word:?} in {told}");
        }
    }
}

#[tokio::test]
async fn whatever_protocols_a_client_offers_it_is_served_http() {
    use tokio_rustls::rustls::pki_types::pem::PemObject as _;
    use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};
    let authority = Authority::new("ours");
    let server = serve(Some(daemon_files(&authority).tls()));
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    // As `curl --http1.0` and browsers do.
    config.alpn_protocols = vec![b"http/1.0".to_vec(), b"h2".to_vec()];
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = connector.connect(name, stream).await.unwrap();
    let request = b"GET /public HTTP/1.0\r\nHost: localhost\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut stream, request).await.unwrap();
    let mut answer = String::new();
    let read = tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await;
    assert!(answer.starts_with("HTTP/1.0 200"), "{read:?}: {answer}");
}

#[tokio::test]
async fn a_client_whose_certificate_is_not_taken_is_told_which() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let server = serve(Some(daemon_files(&ours).tls()));
    // It trusts both authorities, and shows a certificate of the other one.
    let both = format!("{}{}", ours.pem, theirs.pem);
    let stranger = Files::of(&both, &theirs.sign(&Leaf::of(&["host-9"]))).tls();
    let error = ask(&client(Some(stranger)), &server.address(), "/public").await.unwrap_err();
    let told = error.to_string();
    assert!(matches!(error, CallError::Untrusted { .. }), "{error:?}");
    assert!(told.contains("does not accept this host's own certificate, tls.cert"), "{told}");
}

#[tokio::test]
async fn changed_files_count_from_the_next_connection_on_and_broken_ones_never() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let files = daemon_files(&old);
    let tls = files.tls();
    let server = serve(Some(tls.clone()));
    let kept = trusting(&old);
    assert_eq!(ask(&kept, &server.address(), "/public").await.unwrap(), 1);
    files.write("cert.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    assert!(tls.reload().is_err());
    assert_eq!(ask(&trusting(&old), &server.address(), "/public").await.unwrap(), 1);
    let (cert, key) = new.sign(&Leaf::of(&["host-1", "127.0.0.1"]));
    files.write("ca.pem", &new.pem);
    files.write("cert.pem", &cert);
    assert!(tls.reload().is_err(), "the key is still the old one's");
    files.write("key.pem", &key);
    tls.reload().unwrap();
    assert_eq!(tls.own_certificate().unwrap().issuer, "CN=new");
    assert_eq!(ask(&trusting(&new), &server.address(), "/public").await.unwrap(), 1);
    assert!(ask(&trusting(&old), &server.address(), "/public").await.is_err());
    assert_eq!(ask(&kept, &server.address(), "/public").await.unwrap(), 1, "it is connected");
    // A daemon's client also shows the new certificate, and trusts the authorities in the new file.
    let daemon = client(Some(tls)).with_token(server.token(Role::Server));
    assert_eq!(ask(&daemon, &server.address(), "/any").await.unwrap(), 2);
}

#[test]
fn files_that_cannot_be_used_are_refused_with_file_and_remedy() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let good = ours.sign(&Leaf::of(&["host-1"]));
    let with = |leaf: Leaf<'_>| Files::of(&ours.pem, &ours.sign(&leaf));
    let ended = with(Leaf { lasts: (-9 * DAY, -2 * DAY - 60), ..Leaf::of(&["host-1"]) });
    let nameless = with(Leaf::of(&[]));
    let unfit =
        with(Leaf { uses: vec![ExtendedKeyUsagePurpose::ServerAuth], ..Leaf::of(&["host-1"]) });
    let other = Files::of(&ours.pem, &theirs.sign(&Leaf::of(&["host-1"])));
    let mixed = Files::of(&ours.pem, &(good.0.clone(), theirs.sign(&Leaf::of(&["a"])).1));
    let no_authority = Files::of(&good.0, &good);
    let past = Authority::lasting("past", (-9 * DAY, -4 * DAY - 60)).pem;
    let old_authority = Files::of(&past, &good);
    let (empty, missing, exposed) =
        (Files::of("", &good), Files::of(&ours.pem, &good), Files::of(&ours.pem, &good));
    fs::remove_file(missing.path("cert.pem")).unwrap();
    fs::set_permissions(exposed.path("key.pem"), fs::Permissions::from_mode(0o640)).unwrap();
    let keyless = Files::of(&ours.pem, &(good.0.clone(), good.0.clone()));
    for (files, file, words) in [
        (&ended, "cert.pem", &["CN=host-1", "ended 2 days ago", "certs new --replace"][..]),
        (&nameless, "cert.pem", &["no host name", "--name"]),
        (&unfit, "cert.pem", &["CN=host-1"]),
        (&other, "cert.pem", &["signed by CN=theirs", "CN=ours", "ca.pem"]),
        (&mixed, "key.pem", &["not that of the certificate CN=host-1"]),
        (&no_authority, "ca.pem", &["CN=host-1", "no authority"]),
        (&old_authority, "ca.pem", &["CN=past", "ended 4 days ago"]),
        (&empty, "ca.pem", &["holds no certificate"]),
        (&missing, "cert.pem", &["No such file", "tls.cert"]),
        (&exposed, "key.pem", &["mode 640", "chmod 600"]),
        (&keyless, "key.pem", &["holds no private key"]),
    ] {
        let told = files.refusal();
        let path = files.path(file);
        for word in words.iter().chain([&path.to_str().unwrap()]) {
            assert!(told.contains(word), "no {word:?} in {told}");
        }
    }
    // An expired authority does no harm beside its successor.
    let (both, leaf) = (format!("{past}{}", ours.pem), Leaf::of(&["host-1"]));
    let tls = Files::of(&both, &ours.sign(&leaf)).tls();
    let remaining = tls.remaining();
    assert!((364 * DAY..=365 * DAY).contains(&remaining.authority), "{remaining:?}");
    assert!((29 * DAY..=30 * DAY).contains(&remaining.own.unwrap()), "{remaining:?}");
}
