//! `Redis`: jobs in a Redis server, for services that must not lose them with their own disk.
//!
//! ```text
//! sutler:serve:unfinished    the ids of jobs that have not ended, sorted by when they were accepted
//! sutler:serve:image:ID      an image, until its job has ended
//! sutler:serve:starts:ID     a name for each time that the job was begun
//! sutler:serve:result:ID     how the job ended, as JSON; Redis lets it expire
//! sutler:serve:owner         the name of the one service that works here, for five seconds
//! ```
//!
//! A service says once a second that it is there. Another is refused; after one that was killed, the next waits until
//! its name has expired. One that was silent for too long, and finds another's name there, ends.
//!
//! What Redis is told survives Redis itself only as far as it is configured to write it down: [`Store::warnings`] says
//! where it is not.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use redis::{Client, Connection, IntoConnectionInfo, Pipeline, RedisResult, SetExpiry, SetOptions, pipe};

use super::{Begun, Error, Store, Unfinished, parse};
use crate::job::{self, JobId, Outcome, Status};

pub struct Redis {
    client: Client,
    /// Connections that nobody uses. One that failed is not put back.
    idle: Mutex<Vec<Connection>>,
    keep: Duration,
    /// Of this process, and nobody else's.
    name: String,
}

const PREFIX: &str = "sutler:serve:";
const UNFINISHED: &str = "sutler:serve:unfinished";
const OWNER: &str = "sutler:serve:owner";

/// How long a service may be silent before another may take its jobs over.
pub const LEASE: Duration = Duration::from_secs(5);

/// Makes a name the owner's for so many milliseconds, unless another is. To stay it takes no memory, of which Redis may
/// have no more.
const CLAIM: &str = "\
    local owner = redis.call('GET', KEYS[1]) \
    if not owner then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return true end \
    return owner == ARGV[1] and redis.call('PEXPIRE', KEYS[1], ARGV[2]) == 1";

/// How long Redis may take to answer before it counts as gone. The client waits as long for each command of a
/// transaction.
const PATIENCE: Duration = Duration::from_secs(2);

impl Redis {
    /// # Errors
    ///
    /// If nobody answers there, or another service works there.
    pub fn open(url: &str, keep: Duration) -> Result<Self, Error> {
        // An address may have a password in it, and is not repeated.
        let open = || -> Result<Self, Error> {
            let address = url.into_connection_info()?;
            // A new connection does not begin with an introduction, for which a Redis that hangs would be waited for.
            let settings = address.redis_settings().clone().set_skip_set_lib_name();
            let client = Client::open(address.set_redis_settings(settings))?;
            let name = format!("{:032x}", job::random()?);
            let redis = Redis { client, idle: Mutex::new(Vec::new()), keep, name };
            let waiting = Instant::now();
            while !redis.claim(LEASE)? {
                if waiting.elapsed() > LEASE + Duration::from_secs(1) {
                    return Err("another service works there, and only one may: stop it, or use another Redis".into());
                }
                thread::sleep(Duration::from_millis(100));
            }
            Ok(redis)
        };
        open().map_err(|error| format!("--redis: {error}").into())
    }

    /// Makes a call over a connection. One that was idle may have ended since: then another is made, once.
    fn with<T>(&self, call: impl Fn(&mut Connection) -> RedisResult<T>) -> Result<T, Error> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = idle().pop();
        if let Some(mut connection) = taken {
            match call(&mut connection) {
                Ok(value) => {
                    idle().push(connection);
                    return Ok(value);
                }
                Err(error) if error.is_timeout() => return Err(error.into()),
                // All that are idle are as old, or older.
                Err(error) if error.is_io_error() || error.is_unrecoverable_error() => idle().clear(),
                Err(error) => return Err(error.into()),
            }
        }
        let mut connection = self.client.get_connection_with_timeout(PATIENCE)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        connection.set_write_timeout(Some(PATIENCE))?;
        let value = call(&mut connection)?;
        idle().push(connection);
        Ok(value)
    }

    fn claim(&self, time: Duration) -> Result<bool, Error> {
        let mut claim = redis::cmd("EVAL");
        claim.arg(CLAIM).arg(1).arg(OWNER).arg(&self.name).arg(time.as_millis() as u64);
        self.with(|connection| claim.query(connection))
    }

    fn config(&self, name: &str) -> Option<String> {
        let pair = self.with(|connection| redis::cmd("CONFIG").arg("GET").arg(name).query::<Vec<String>>(connection));
        pair.ok()?.into_iter().nth(1)
    }
}

/// The next need not wait.
impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.claim(Duration::from_millis(1));
    }
}

fn key(what: &str, id: JobId) -> String {
    format!("{PREFIX}{what}:{id}")
}

/// All or nothing.
fn transaction() -> Pipeline {
    let mut pipeline = pipe();
    pipeline.atomic();
    pipeline
}

/// Removes all of a job but its result.
fn forget(pipeline: &mut Pipeline, id: JobId) {
    pipeline.del(&[key("image", id), key("starts", id)]).ignore();
    pipeline.zrem(UNFINISHED, id.to_string()).ignore();
}

impl Store for Redis {
    fn accept(&self, id: JobId, image: &[u8]) -> Result<(), Error> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut pipeline = transaction();
        pipeline.set(key("image", id), image).ignore();
        pipeline.zadd(UNFINISHED, id.to_string(), now.as_micros() as u64).ignore();
        self.with(|connection| pipeline.exec(connection))
    }

    fn begin(&self, ids: &[JobId], start: u128) -> Result<Vec<Begun>, Error> {
        let mut pipeline = pipe();
        for &id in ids {
            pipeline.sadd(key("starts", id), format!("{start:032x}")).ignore();
            pipeline.scard(key("starts", id)).get(key("image", id)).exists(key("result", id));
            pipeline.zscore(UNFINISHED, id.to_string());
        }
        type Row = (u32, Option<Vec<u8>>, bool, Option<f64>);
        let rows: Vec<redis::Value> = self.with(|connection| pipeline.query(connection))?;
        let mut begun = Vec::new();
        let mut values = rows.into_iter();
        for &id in ids {
            let row = redis::Value::Array(values.by_ref().take(4).collect());
            let (starts, image, has_result, unfinished): Row = redis::from_redis_value(row)?;
            begun.push(match image {
                // An acceptance may have come late, over a connection that was given up.
                _ if has_result => {
                    let mut pipeline = transaction();
                    forget(&mut pipeline, id);
                    self.with(|connection| pipeline.exec(connection))?;
                    Begun::Ended
                }
                _ if unfinished.is_none() => {
                    self.with(|connection| redis::cmd("DEL").arg(key("starts", id)).exec(connection))?;
                    Begun::Ended
                }
                Some(image) => Begun::Image { image, starts },
                None => Begun::Lost,
            });
        }
        Ok(begun)
    }

    fn take_back(&self, starts: &[(JobId, u128)]) -> Result<(), Error> {
        let mut pipeline = transaction(); // which may be empty
        for (id, start) in starts {
            pipeline.srem(key("starts", *id), format!("{start:032x}")).ignore();
        }
        self.with(|connection| pipeline.exec(connection))
    }

    fn finish(&self, outcomes: &[(JobId, Outcome)]) -> Result<(), Error> {
        let mut pipeline = transaction();
        for (id, outcome) in outcomes {
            let expiry = SetExpiry::PX(u64::try_from(self.keep.as_millis()).unwrap_or(u64::MAX).max(1));
            let once = SetOptions::default().conditional_set(redis::ExistenceCheck::NX).with_expiration(expiry);
            pipeline.set_options(key("result", *id), serde_json::to_vec(outcome)?, once).ignore();
            forget(&mut pipeline, *id);
        }
        self.with(|connection| pipeline.exec(connection))
    }

    fn status(&self, id: JobId) -> Result<Option<Status>, Error> {
        let mut pipeline = transaction();
        pipeline.get(key("result", id)).zscore(UNFINISHED, id.to_string());
        let (result, unfinished): (Option<Vec<u8>>, Option<f64>) =
            self.with(|connection| pipeline.query(connection))?;
        Ok(match result {
            Some(result) => Some(Status::Ended(parse(&result))),
            None => unfinished.map(|_| Status::Queued),
        })
    }

    fn unfinished(&self) -> Result<Vec<Unfinished>, Error> {
        let ids: Vec<String> =
            self.with(|connection| redis::cmd("ZRANGE").arg(UNFINISHED).arg(0).arg(-1).query(connection))?;
        let ids: Vec<JobId> = ids.iter().filter_map(|id| id.parse().ok()).collect();
        let mut jobs = Vec::new();
        for ids in ids.chunks(1000) {
            let mut pipeline = pipe();
            for &id in ids {
                pipeline.scard(key("starts", id));
            }
            let starts: Vec<u32> = self.with(|connection| pipeline.query(connection))?;
            jobs.extend(ids.iter().zip(starts).map(|(&id, starts)| Unfinished { id, starts }));
        }
        Ok(jobs)
    }

    fn hold(&self) -> Result<bool, Error> {
        self.claim(LEASE)
    }

    /// Redis does.
    fn expire(&self) -> Result<(), Error> {
        Ok(())
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        match self.config("appendonly").as_deref() {
            Some("yes") => match self.config("appendfsync").as_deref() {
                Some("always") | None => {}
                Some(other) => warnings.push(format!(
                    "Redis writes to its disk later (appendfsync {other}): if its machine fails, the jobs of the last \
                     moments are lost; `appendfsync always` keeps them"
                )),
            },
            Some(_) => warnings.push(
                "Redis does not keep what it is told (appendonly no): jobs that were accepted are lost if it ends; \
                 `appendonly yes` keeps them"
                    .into(),
            ),
            None => warnings.push("Redis does not say whether it keeps what it is told (CONFIG GET appendonly)".into()),
        }
        match self.config("maxmemory-policy") {
            Some(policy) if policy.starts_with("allkeys") => warnings.push(format!(
                "Redis removes jobs when its memory is full (maxmemory-policy {policy}); `noeviction` keeps them"
            )),
            _ => {}
        }
        if let Some(bound) = self.config("maxmemory").filter(|bound| bound != "0") {
            warnings.push(format!(
                "Redis may have no more than {bound} bytes (maxmemory): where that is less than --queue times \
                 --max-body, jobs that were accepted may have to wait for results to expire before they can end"
            ));
        }
        warnings
    }
}
