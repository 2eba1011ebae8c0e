//! Whose a client id is. Clients choose their ids themselves, and leases and kept replies go by them: so
//! that nobody can speak for another by naming that one's id, the core is given an id that is made of the
//! caller's token too. A process that starts again under the same token's subject stays who it was.

use ids::ClientId;
use net::{Capability, Role};
use ring::digest::{Context, SHA256};

/// The id under which the core knows the client `told` of this caller: SHA-256 of role, subject and id,
/// in hexadecimal.
pub(super) fn client_of(caller: &Capability, told: &ClientId) -> ClientId {
    // Neither roles nor client ids hold a zero byte: no two callers' texts run into each other.
    let mut text = Context::new(&SHA256);
    for part in [role(caller.role), "\0", &caller.subject, "\0", told.as_str()] {
        text.update(part.as_bytes());
    }
    let digits: String = text.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    digits.parse().expect("64 hexadecimal digits are allowed in client ids")
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
    use ids::UnixMillis;
    use net::Right;

    use super::*;

    fn caller(role: Role, subject: &str, prefix: &str) -> Capability {
        Capability {
            subject: subject.to_owned(),
            role,
            prefixes: vec![prefix.to_owned()],
            rights: vec![Right::Write],
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
}
