//! The cluster a user holds.

use crate::error::ClusterError;
use crate::instance::{Instance, Launch};
use crate::launch::{LaunchConfig, module_dir};
use crate::watch::ThreadLoad;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tantu_base::value::Encode;
use tantu_client::{
    ClientOptions, Connection, Depot, Microbatch, MicrobatchStatus, PState, Query, StopText, Stream, WeakConnection,
};
use tantu_doors::{DirLock, KernelDisk, StartError};
use tantu_flow::{ArgumentValues, DEAD_LETTERS, DeadLetter, Module, ModuleDef, Owned, define};
use tantu_path::PStateSchema;
use tantu_state::meta::{ModuleMeta, read_module};
use tantu_task::observe::Observe;
use tantu_task::{CategoryShares, ClientWork};
use tempfile::TempDir;

/// Where files are in memory.
const IN_MEMORY: &str = "/dev/shm";
/// Bytes of a segment of a log there: space that is written ahead is memory.
const IN_MEMORY_SEGMENT_SIZE: u64 = 4 << 20;

/// Modules in one process. Dropping it closes it; [`InProcessCluster::close`] tells whether that went well.
#[derive(Debug)]
pub struct InProcessCluster {
    dir: PathBuf,
    modules: Mutex<BTreeMap<String, Instance>>,
    /// Bytes of a segment of the log, if not the usual.
    log_segment_size: Option<u64>,
    _lock: DirLock,
    _temporary: Option<TempDir>,
}

impl InProcessCluster {
    /// A cluster in a fresh temporary directory, which is removed with it.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub fn create() -> Result<Self, ClusterError> {
        let temporary = tempfile::Builder::new().prefix("tantu-").tempdir().map_err(ClusterError::Temporary)?;
        let mut cluster = Self::open(temporary.path())?;
        cluster._temporary = Some(temporary);
        Ok(cluster)
    }

    /// A cluster whose files are in memory, for tests that want many clusters: it starts faster, and a crash of the machine
    /// leaves nothing. Everything else is as in [`InProcessCluster::create`].
    ///
    /// # Errors
    /// [`ClusterError`]; the machine may have no file system in memory at `/dev/shm`.
    pub fn create_in_memory() -> Result<Self, ClusterError> {
        let temporary =
            tempfile::Builder::new().prefix("tantu-").tempdir_in(IN_MEMORY).map_err(ClusterError::Temporary)?;
        let mut cluster = Self::open(temporary.path())?;
        cluster._temporary = Some(temporary);
        cluster.log_segment_size = Some(IN_MEMORY_SEGMENT_SIZE);
        Ok(cluster)
    }

    /// A cluster in a data directory, which is made if it is missing. Modules launched again go on where they ended.
    ///
    /// # Errors
    /// [`ClusterError`]; another process may have the directory.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, ClusterError> {
        let dir = dir.as_ref().to_path_buf();
        let lock = DirLock::take(&dir)?;
        Ok(Self { dir, modules: Mutex::default(), log_segment_size: None, _lock: lock, _temporary: None })
    }

    /// Its data directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn modules(&self) -> MutexGuard<'_, BTreeMap<String, Instance>> {
        self.modules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Launches a module and returns when it runs.
    ///
    /// # Errors
    /// [`ClusterError`]: the definition, the parameters, the directory or the machine.
    pub fn launch<M: Module>(&self, config: LaunchConfig) -> Result<(), ClusterError> {
        self.launch_module::<M>(config, None)
    }

    /// Launches a module whose events are observed: for tests of where they hop, what they read and what they write.
    ///
    /// # Errors
    /// [`ClusterError`]: the definition, the parameters, the directory or the machine.
    pub fn launch_observed<M: Module>(
        &self,
        config: LaunchConfig,
        observer: Arc<dyn Observe>,
    ) -> Result<(), ClusterError> {
        self.launch_module::<M>(config, Some(observer))
    }

    fn launch_module<M: Module>(
        &self,
        config: LaunchConfig,
        observer: Option<Arc<dyn Observe>>,
    ) -> Result<(), ClusterError> {
        self.launch_def(define::<M>()?, config, observer)
    }

    /// Launches a module at rest, with as many tasks and threads as the last time: see [`LaunchConfig::at_rest`]. False if it
    /// was never launched in the directory; nothing is made then.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub fn launch_at_rest(&self, def: ModuleDef) -> Result<bool, ClusterError> {
        let Some(meta) = self.meta(&def.name)? else { return Ok(false) };
        let (tasks, threads) = (meta.task_count, meta.thread_count);
        self.launch_def(def, LaunchConfig { tasks, threads, at_rest: true, ..LaunchConfig::default() }, None)?;
        Ok(true)
    }

    /// How many tasks a module has in the directory, for ever; none if it was never launched there.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub fn stored_task_count(&self, module: &str) -> Result<Option<u32>, ClusterError> {
        Ok(self.meta(module)?.map(|meta| meta.task_count))
    }

    fn meta(&self, module: &str) -> Result<Option<ModuleMeta>, ClusterError> {
        let mut disk = KernelDisk::new(None).map_err(StartError::Ring)?;
        Ok(read_module(&mut disk, &module_dir(&self.dir, module).join("module.meta"))?)
    }

    fn launch_def(
        &self,
        def: ModuleDef,
        config: LaunchConfig,
        observer: Option<Arc<dyn Observe>>,
    ) -> Result<(), ClusterError> {
        let name = def.name.clone();
        let mut modules = self.modules();
        if modules.contains_key(&name) {
            return Err(ClusterError::Launch {
                module: name,
                what: "it runs already: `restart` launches it again".to_string(),
            });
        }
        let log_segment_size = self.log_segment_size;
        let launch = Launch { config, observer, log_segment_size, stopped: StopText::default() };
        let instance = Instance::start(&module_dir(&self.dir, &name), def, launch)?;
        modules.insert(name, instance);
        Ok(())
    }

    /// Ends a module in order and launches the same one again, as an update to the code that runs already does: what is
    /// durable stays, what threads hold in memory does not, and handles go on with the new instance. A request that is out
    /// meanwhile may fail.
    ///
    /// # Errors
    /// [`ClusterError`]: it does not run, is another module than this one by now, or does not end or begin in order.
    pub fn restart<M: Module>(&self) -> Result<(), ClusterError> {
        let def = define::<M>()?;
        let name = def.name.clone();
        let is_same = self.with(&name, |instance| is_same(&instance.runtime.def, &def))?;
        if !is_same {
            let what = "it runs with another definition, which a restart cannot change".to_string();
            return Err(ClusterError::Launch { module: name, what });
        }
        let mut modules = self.modules();
        let Some(instance) = modules.remove(&name) else {
            let known = modules.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(ClusterError::NotAlive { module: name, known });
        };
        let ((connection, others), launch) = (instance.connections(), instance.launch().clone());
        // Who may send again what was out waits for the next instance.
        let tell = |is_restarting: bool| {
            connection.expect_restart(is_restarting);
            others.iter().filter_map(WeakConnection::upgrade).for_each(|other| other.expect_restart(is_restarting));
        };
        tell(true);
        let started = instance.close().and_then(|()| Instance::start(&module_dir(&self.dir, &name), def, launch));
        let mut instance = started.inspect_err(|_| tell(false))?;
        instance.adopt(connection, others);
        modules.insert(name, instance);
        Ok(())
    }

    fn with<T>(&self, module: &str, ask: impl FnOnce(&Instance) -> T) -> Result<T, ClusterError> {
        let modules = self.modules();
        let Some(instance) = modules.get(module) else {
            let known = modules.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(ClusterError::NotAlive { module: module.to_string(), known });
        };
        Ok(ask(instance))
    }

    /// A depot of a module, on the connection that all such handles share.
    ///
    /// # Errors
    /// [`ClusterError`] if there is none.
    pub fn depot<T: Encode>(&self, module: &str, name: &str) -> Result<Depot<T>, ClusterError> {
        Ok(Depot::new(&self.with(module, |instance| instance.connection.clone())?, name)?)
    }

    /// A PState of a module, on the connection that all such handles share.
    ///
    /// # Errors
    /// [`ClusterError`] if there is none, or if its schema is another one.
    pub fn pstate<S: PStateSchema>(&self, module: &str, name: &str) -> Result<PState<S>, ClusterError> {
        Ok(PState::new(&self.with(module, |instance| instance.connection.clone())?, name)?)
    }

    /// A query of a module, on the connection that all such handles share: `query::<(String, i64), i64>(…)` takes a
    /// `Var<str>` and a `Var<i64>` and returns a `Var<i64>`.
    ///
    /// # Errors
    /// [`ClusterError`] if there is none, or if it takes or returns something else.
    pub fn query<A: ArgumentValues, R: Owned>(&self, module: &str, name: &str) -> Result<Query<A, R>, ClusterError> {
        Ok(Query::new(&self.with(module, |instance| instance.connection.clone())?, name)?)
    }

    /// A microbatch topology of a module, on the connection that all such handles share.
    ///
    /// # Errors
    /// [`ClusterError`] if there is none.
    pub fn microbatch(&self, module: &str, topology: &str) -> Result<Microbatch, ClusterError> {
        Ok(Microbatch::new(&self.with(module, |instance| instance.connection.clone())?, topology)?)
    }

    /// A stream topology of a module, on the connection that all such handles share.
    ///
    /// # Errors
    /// [`ClusterError`] if there is none.
    pub fn stream(&self, module: &str, topology: &str) -> Result<Stream, ClusterError> {
        Ok(Stream::new(&self.with(module, |instance| instance.connection.clone())?, topology)?)
    }

    /// The records that topologies of a module gave up; see [`DeadLetter`].
    ///
    /// # Errors
    /// [`ClusterError`] if none of its sources gives records up.
    pub fn dead_letters(&self, module: &str) -> Result<Depot<DeadLetter>, ClusterError> {
        self.depot(module, DEAD_LETTERS)
    }

    /// Waits until a microbatch topology has processed so many records since it was first launched, and what it wrote is
    /// visible.
    ///
    /// # Errors
    /// [`ClusterError`] if it has not in this time.
    pub fn wait_for_microbatch_processed_count(
        &self,
        module: &str,
        topology: &str,
        count: u64,
        timeout: Duration,
    ) -> Result<MicrobatchStatus, ClusterError> {
        Ok(self.microbatch(module, topology)?.wait_for_processed(count, timeout)?)
    }

    /// Waits until a stream topology has processed so many records since it was first launched, and what they did is visible: for
    /// records that nobody waits for at level ACK.
    ///
    /// # Errors
    /// [`ClusterError`] if it has not in this time.
    pub fn wait_for_stream_processed_count(
        &self,
        module: &str,
        topology: &str,
        count: u64,
        timeout: Duration,
    ) -> Result<u64, ClusterError> {
        Ok(self.stream(module, topology)?.wait_for_processed(count, timeout)?)
    }

    /// Lets a microbatch topology begin no more microbatches, also after a restart; returns when the one under way has ended.
    /// What is appended meanwhile is in the next one, up to its limit.
    ///
    /// # Errors
    /// [`ClusterError`] if there is none.
    pub fn pause_microbatch_topology(&self, module: &str, topology: &str) -> Result<(), ClusterError> {
        Ok(self.microbatch(module, topology)?.pause()?)
    }

    /// Lets a microbatch topology go on.
    ///
    /// # Errors
    /// [`ClusterError`] if there is none.
    pub fn resume_microbatch_topology(&self, module: &str, topology: &str) -> Result<(), ClusterError> {
        Ok(self.microbatch(module, topology)?.resume()?)
    }

    /// Other proportions of the busy threads' time by category of work, from now on and until the module is launched again: those are
    /// the ones of its [`LaunchConfig::proportions`] (`worker.event.category.proportions`).
    ///
    /// # Errors
    /// [`ClusterError::NotAlive`].
    pub fn set_proportions(&self, module: &str, proportions: CategoryShares) -> Result<(), ClusterError> {
        self.with(module, |instance| instance.set_proportions(proportions))
    }

    /// How busy each task thread of a module was so far, in the order of their numbers (TSK-10).
    ///
    /// ```
    /// use tantu_local::{InProcessCluster, LaunchConfig};
    /// # use tantu_flow::{Module, Setup, Topologies};
    /// # struct Quiet;
    /// # impl Module for Quiet { fn define(_: &mut Setup, _: &mut Topologies) {} }
    /// let cluster = InProcessCluster::create()?;
    /// cluster.launch::<Quiet>(LaunchConfig::new(2, 2))?;
    /// let before = cluster.loads("Quiet")?;
    /// // … some time later: above 0.7 it is time to scale.
    /// for (now, before) in cluster.loads("Quiet")?.iter().zip(&before) {
    ///     assert!(now.fraction_since(before) <= 1.0);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ClusterError::NotAlive`].
    pub fn loads(&self, module: &str) -> Result<Vec<ThreadLoad>, ClusterError> {
        self.with(module, Instance::loads)
    }

    /// A connection of one's own: threads that send much do not wait for each other on it.
    ///
    /// # Errors
    /// [`ClusterError::NotAlive`].
    pub fn connect(&self, module: &str) -> Result<Connection, ClusterError> {
        self.connect_with(module, ClientOptions::default())
    }

    /// A connection of one's own with options.
    ///
    /// # Errors
    /// [`ClusterError::NotAlive`].
    pub fn connect_with(&self, module: &str, options: ClientOptions) -> Result<Connection, ClusterError> {
        self.with(module, |instance| instance.connect(options))
    }

    /// What clients' requests hold on a module's task threads now, within a few milliseconds.
    ///
    /// # Errors
    /// [`ClusterError::NotAlive`].
    pub fn client_work(&self, module: &str) -> Result<ClientWork, ClusterError> {
        self.with(module, Instance::client_work)
    }

    /// The names of the modules that run.
    pub fn module_names(&self) -> Vec<String> {
        self.modules().keys().cloned().collect()
    }

    /// Finishes what is under way and ends every module.
    ///
    /// # Errors
    /// The first module that could not end in order; what was acked is durable all the same.
    pub fn close(self) -> Result<(), ClusterError> {
        self.close_modules()
    }

    fn close_modules(&self) -> Result<(), ClusterError> {
        let modules = std::mem::take(&mut *self.modules());
        let mut first = Ok(());
        for (_, instance) in modules {
            let closed = instance.close();
            if first.is_ok() {
                first = closed;
            }
        }
        first
    }
}

/// Whether handles that were made for one definition fit the other.
fn is_same(one: &ModuleDef, other: &ModuleDef) -> bool {
    let said = |def: &ModuleDef| {
        let depots = def.depots.iter().map(|depot| format!("{} {} {}", depot.name, depot.global, depot.record_type));
        let pstates = def.pstates.iter().map(|pstate| format!("{} {} {}", pstate.name, pstate.global, pstate.schema));
        let streams = def.streams.iter().map(|stream| (&stream.name, &stream.plan));
        let queries = def.queries.iter().map(|query| (&query.name, &query.plan));
        let microbatches = def.microbatches.iter().map(|microbatch| (&microbatch.name, &microbatch.plan));
        let plans = streams.chain(queries).chain(microbatches);
        let plans = plans.map(|(name, plan)| format!("{name} {}", plan.fingerprint()));
        depots.chain(pstates).chain(plans).collect::<Vec<_>>()
    };
    said(one) == said(other)
}

impl Drop for InProcessCluster {
    fn drop(&mut self) {
        if let Err(error) = self.close_modules() {
            tracing::warn!(%error, "a module did not end in order");
        }
    }
}
