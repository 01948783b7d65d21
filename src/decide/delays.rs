//! Every wait of the controller and of the companion, with its reason. Timeouts of single requests stand in
//! `adapters`, where the requests are made; what a user may set stands in `api`.

use super::backoff::Backoff;
use k8s_openapi::jiff::SignedDuration;
use std::time::Duration;

// -- controller ------------------------------------------------------------------------------------------------------

/// Between the tries of a key of a work queue: an API server that is away must not be flooded by thousands of objects.
pub const WORK_QUEUE_BACKOFF: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(60));
/// The most of a `Retry-After` of the API server that is waited for: it may be wrong, and nobody else would ask again.
pub const MAX_RETRY_AFTER: Duration = Duration::from_mins(5);
/// Between two looks at the clock for keys that are due. It may be set, so no timer can replace it.
pub const DUE_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Between two looks at the work queues, before the controller is ready.
pub const SETTLE_CHECK_INTERVAL: Duration = Duration::from_millis(10);
/// Before a leader whose watch or worker ended by a fault of ours starts again.
pub const LEADER_RESTART_DELAY: Duration = Duration::from_secs(5);
/// Before the counts of a PortainerClient are published: one write for many hosts.
pub const COUNT_DELAY: Duration = Duration::from_secs(1);
/// Before a Portainer is listed again for a host: one list for many hosts.
pub const REFRESH_DELAY: Duration = Duration::from_millis(500);

// -- objects and companions' accounts ----------------------------------------------------------------------------------

/// Between two checks of an object that belongs to someone else and is in the way: no watch shows it.
pub const CONFLICT_RECHECK_INTERVAL: SignedDuration = SignedDuration::from_mins(1);
/// The same of an object that is in the way of nobody, since another is before it: that one's end wakes the next in line.
pub const RIVAL_RECHECK_INTERVAL: SignedDuration = SignedDuration::from_mins(10);
/// Between two checks of a host that waits for its turn to restart dockerd, in case no event wakes it.
pub const TURN_CHECK_INTERVAL: SignedDuration = SignedDuration::from_mins(5);
/// Before a host is assigned that another account still has: that account loses its rights first.
pub const HANDOVER_DELAY: SignedDuration = SignedDuration::from_secs(5);

// -- registration in Portainer -----------------------------------------------------------------------------------------

/// Between two lists of a Portainer where nothing changes.
pub const PORTAINER_INTERVAL: SignedDuration = SignedDuration::from_mins(5);
/// After a failed request to Portainer.
pub const PORTAINER_BACKOFF: Backoff = Backoff::new(Duration::from_secs(15), Duration::from_mins(5));
/// After Portainer did not reach a host: each failed creation leaves a private key on its disk, which nothing removes.
pub const CREATE_BACKOFF: Backoff = Backoff::new(Duration::from_mins(2), Duration::from_hours(1));
/// After refused credentials, unless their Secret changes: too many logins are a ban.
pub const LOGIN_RETRY_INTERVAL: SignedDuration = SignedDuration::from_hours(1);
/// After a ban: Portainer bans for an hour.
pub const LOGIN_BAN_BACKOFF: Backoff = Backoff::constant(Duration::from_mins(65));

// -- companion, some of them `up`'s, too -------------------------------------------------------------------------------

/// Between the tries of a request to the API server.
pub const REQUEST_BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
/// The longest sleep: after it, it shows that the clock was set or that the machine slept.
pub const MAX_SLEEP: Duration = Duration::from_secs(60);
/// With `--once`: as long as the API server may take to show everything.
pub const ONCE_TIMEOUT: Duration = Duration::from_mins(2);
/// The furthest instant that a delivery is put off to; one further away was computed by a clock that was wrong.
pub const MAX_DELIVERY_DELAY: SignedDuration = SignedDuration::from_mins(15);
/// The same for a registration.
pub const MAX_REGISTRATION_DELAY: SignedDuration = SignedDuration::from_hours(2);
/// The youngest token that is replaced: one that could not be renewed is near its end.
pub const MIN_TOKEN_AGE: SignedDuration = SignedDuration::from_mins(1);
/// Between a change of a watched file and the check of it: editors and package managers write in several steps.
pub const DEBOUNCE: Duration = Duration::from_millis(200);
/// The same where files change all the time.
pub const LONG_DEBOUNCE: Duration = Duration::from_secs(10);
/// After so long without a change, files no longer count as changing all the time.
pub const QUIET_PERIOD: Duration = Duration::from_secs(60);
/// Between two tries to reach a system bus that is not there or ended.
pub const BUS_RETRY_INTERVAL: Duration = Duration::from_mins(5);
/// `companion install`: as long as the controller may take to grant a new account its rights.
pub const RIGHTS_TIMEOUT: Duration = Duration::from_secs(10);
/// `companion install`: between two tries until then.
pub const RIGHTS_RETRY_INTERVAL: Duration = Duration::from_millis(500);
