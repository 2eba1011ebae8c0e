//! Identifies callers and requests: whose a client id is, and what distinguishes one request from
//! another. Clients choose their own ids, and leases and kept replies go by them. So that nobody
//! can act for another by naming that one's id, the core gets an id that is also derived from the
//! caller's token. A process that restarts under the same token's subject keeps its identity.

use chunkstore_core::master::{Authority, Mutation, RequestDigest};
use chunkstore_protocol::OWNER_CHARS_MAX;
use ids::ClientId;
use net::{Capability, Role, Standing};
use ring::digest::{Context, SHA256, digest};

/// The id by which the core knows this caller's client `told`: SHA-256 of role, subject and id, in
/// hexadecimal.
pub(super) fn client_of(caller: &Capability, told: &ClientId) -> ClientId {
    // Neither roles nor client ids contain a zero byte, so different callers' texts are never
    // equal.
    let mut text = Context::new(&SHA256);
    for part in [role(caller.role), "\0", &caller.subject, "\0", told.as_str()] {
        text.update(part.as_bytes());
    }
    net::hex(text.finish().as_ref())
        .parse()
        .expect("64 hexadecimal digits are allowed in client ids")
}

/// The owner of what this caller makes: its subject. The subjects of tasks are attempts, of which
/// there are ever more: until a master publishes what they made, it has a common owner.
pub(super) fn owner_of(caller: &Capability) -> String {
    match caller.role {
        Role::Task => role(Role::Task).to_owned(),
        Role::User | Role::Tracker | Role::Server | Role::Master => {
            caller.subject.chars().take(OWNER_CHARS_MAX).collect()
        }
    }
}

/// What the core lets somebody of this standing change. Viewers do not get this far.
pub(super) fn authority_of(standing: Standing) -> Authority {
    match standing {
        Standing::Superuser => Authority::All,
        Standing::User | Standing::Viewer => Authority::Own,
    }
}

/// The first 8 bytes of the SHA-256 of the request, including its kind, as JSON.
pub(super) fn digest_of(request: &Mutation) -> RequestDigest {
    let text = serde_json::to_vec(request).expect("requests are plain data");
    let mut first = [0; 8];
    first.copy_from_slice(&digest(&SHA256, &text).as_ref()[..8]);
    RequestDigest(u64::from_be_bytes(first))
}

fn role(role: Role) -> &'static str {
    match role {
        Role::User => "user",
        Role::Task => "task",
        Role::Tracker => "tracker",
        Role::Server => "server",
        Role::Master => "master",
    }
}

#[cfg(test)]
mod tests {
    use chunkstore_protocol::{Delete, Mkdir};
    use ids::{RequestStamp, UnixMillis};
    use net::Grant;

    use super::*;

    fn caller(role: Role, subject: &str, prefix: &str) -> Capability {
        Capability {
            subject: subject.to_owned(),
            role,
            grants: vec![Grant::write(prefix)],
            expires: UnixMillis(1),
        }
    }

    #[test]
    fn the_same_id_of_another_subject_or_role_is_another_client() {
        let id = |text: &str| text.parse().unwrap();
        let own = client_of(&caller(Role::Task, "a", "/x"), &id("client-1"));
        assert_eq!(own, client_of(&caller(Role::Task, "a", "/y"), &id("client-1")), "a new token");
        for (role, subject, client) in [
            (Role::Task, "b", "client-1"),
            (Role::User, "a", "client-1"),
            (Role::Task, "a", "client-2"),
            (Role::Task, "a\0client-1", "client-1"),
            (Role::Task, "", "aclient-1"),
        ] {
            assert_ne!(own, client_of(&caller(role, subject, "/x"), &id(client)), "{subject:?}");
        }
    }

    #[test]
    fn what_a_task_makes_is_not_its_attempts() {
        assert_eq!(owner_of(&caller(Role::User, "alice", "/")), "alice");
        assert_eq!(owner_of(&caller(Role::Master, "jobtracker", "/")), "jobtracker");
        assert_eq!(owner_of(&caller(Role::Task, "attempt_1", "/")), "task");
        let long = "ü".repeat(OWNER_CHARS_MAX + 1);
        assert_eq!(owner_of(&caller(Role::User, &long, "/")), "ü".repeat(OWNER_CHARS_MAX));
    }

    /// Journals keep digests, so they must not change.
    #[test]
    fn a_digest_is_of_all_that_a_request_says() {
        let stamp = RequestStamp { client: "client-1".parse().unwrap(), slot: 0, sequence: 1 };
        let mkdir = |path: &str, parents| {
            let path = path.parse().unwrap();
            digest_of(&Mutation::Mkdir(Mkdir { stamp: stamp.clone(), path, parents }))
        };
        let first = mkdir("/a", false);
        assert_eq!(first, RequestDigest(2_712_539_161_494_450_400));
        assert_ne!(mkdir("/b", false), first);
        assert_ne!(mkdir("/a", true), first);
        let (path, recursive) = ("/a".parse().unwrap(), false);
        assert_ne!(
            digest_of(&Mutation::Delete(Delete { stamp, path, recursive, skip_trash: false })),
            first
        );
    }
}
