//! A runtime that is all one seed: one thread, a scheduler that draws who is next, and time that jumps to the next timer.
//!
//! What nobody can ever wake is found at once: when no task is ready and no timer set, the run fails.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use sansocket_async::{Dial, NoTls, Runtime, Tls, TlsError, Wrap};

use crate::{Pipe, Rng};

/// The simulated runtime, of the thread that is in [`Sim::run`].
#[derive(Clone, Copy, Debug)]
pub enum Sim {}

/// What a waker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waking {
    /// Makes the task ready; it runs when it is drawn.
    Queues,
    /// Runs the task there and then, in the middle of whatever woke it.
    RunsAtOnce,
}

/// What a run came to.
#[derive(Clone, Copy, Debug)]
pub struct Run<O> {
    /// What the main task returned.
    pub output: O,
    /// How long it took until all tasks had ended.
    pub elapsed: Duration,
    /// How often a task was polled.
    pub polls: usize,
}

impl Sim {
    /// Runs a task to its end, and then those that it spawned.
    ///
    /// # Panics
    /// When no task can ever go on, or after [`POLLS_MAX`] polls; and with `main`.
    pub fn run<O: 'static>(seed: u64, waking: Waking, main: impl Future<Output = O> + 'static) -> Run<O> {
        let _replay = Replay(seed);
        let start = Instant::now();
        WORLD.set(Some(World {
            start,
            now: start,
            rng: Rng::new(seed),
            waking,
            tasks: Vec::new(),
            timers: BTreeMap::new(),
            timers_made: 0,
            polls: 0,
            network: None,
        }));
        let output = Rc::new(Cell::new(None));
        let place = Rc::clone(&output);
        spawn(Box::pin(async move { place.set(Some(main.await)) }));
        loop {
            match with(World::draw) {
                Drawn::Task(task) => poll(task),
                Drawn::Timers(wakers) => wakers.into_iter().for_each(Waker::wake),
                Drawn::AllEnded => break,
                Drawn::Stuck(tasks) => panic!("tasks {tasks:?} wait for what nobody will tell them"),
            }
        }
        let (elapsed, polls) = with(|world| (world.now - world.start, world.polls));
        // What the network holds is dropped outside of the world.
        let _network = with(|world| world.network.take());
        WORLD.set(None);
        Run { output: output.take().expect("the main task has ended"), elapsed, polls }
    }

    /// [`spawn`](Runtime::spawn) for a task that cannot leave this thread.
    pub fn spawn_here(task: impl Future<Output = ()> + 'static) {
        spawn(Box::pin(task));
    }

    /// How long the run has taken so far.
    pub fn elapsed() -> Duration {
        with(|world| world.now - world.start)
    }

    /// How often a task was polled so far.
    pub fn polls() -> usize {
        with(|world| world.polls)
    }

    /// How many tasks have not ended.
    pub fn tasks() -> usize {
        with(|world| world.tasks.iter().filter(|task| !task.ended).count())
    }

    /// Says what becomes of those who dial, for the rest of the run. Until then, and without, all are refused.
    pub fn network(dial: impl Fn() -> Dialled + 'static) {
        Self::network_of(1, move |_| dial());
    }

    /// The same for hosts of so many addresses; `dial` is told which of them is dialled.
    pub fn network_of(addresses: usize, dial: impl Fn(usize) -> Dialled + 'static) {
        let _before = with(|world| world.network.replace((addresses, Rc::new(dial))));
    }

    /// A number from the run's seed, below `n`.
    pub fn below(n: usize) -> usize {
        with(|world| world.rng.below(n))
    }

    /// Lets time pass.
    pub async fn sleep(duration: Duration) {
        Self::sleep_until(Self::now() + duration).await;
    }
}

impl Runtime for Sim {
    type Sleep = Sleep;

    fn now() -> Instant {
        with(|world| world.now)
    }

    fn sleep_until(at: Instant) -> Sleep {
        with(|world| {
            world.timers_made += 1;
            Sleep { at, id: world.timers_made }
        })
    }

    fn spawn(task: impl Future<Output = ()> + Send + 'static) {
        spawn(Box::pin(task));
    }
}

impl Wrap<Pipe> for Sim {
    type Transport = Pipe;

    fn wrap(pipe: Pipe) -> Pipe {
        pipe
    }
}

/// What dialling comes to.
#[derive(Debug)]
pub enum Dialled {
    /// A stream, after so long.
    Connected(Duration, Pipe),
    /// Nothing, after so long.
    Refused(Duration),
    /// Nothing is ever heard of it.
    Unanswered,
}

impl Dial for Sim {
    type Tcp = Pipe;
    type Tls = NoTls<Pipe>;

    async fn resolve(_: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let addresses = with(|world| world.network.as_ref().map_or(1, |(addresses, _)| *addresses));
        Ok((0..addresses).map(|address| (Ipv6Addr::from(address as u128), port).into()).collect())
    }

    async fn dial(address: SocketAddr) -> io::Result<Pipe> {
        let IpAddr::V6(ip) = address.ip() else { return Err(io::ErrorKind::AddrNotAvailable.into()) };
        let dialled = {
            let network = with(|world| world.network.clone());
            network.map_or(Dialled::Refused(Duration::ZERO), |(_, dial)| dial(u128::from(ip) as usize))
        };
        match dialled {
            Dialled::Connected(after, pipe) => {
                Self::sleep(after).await;
                Ok(pipe)
            }
            Dialled::Refused(after) => {
                Self::sleep(after).await;
                Err(io::ErrorKind::ConnectionRefused.into())
            }
            Dialled::Unanswered => std::future::pending().await,
        }
    }

    async fn secure(_: Pipe, _: &str, _: &Tls) -> Result<Self::Tls, TlsError> {
        Err(TlsError::NotBuilt)
    }
}

/// A timer of [`Sim`].
#[derive(Debug)]
pub struct Sleep {
    at: Instant,
    id: usize,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        with(|world| {
            if world.now >= self.at {
                return Poll::Ready(());
            }
            world.timers.insert((self.at, self.id), cx.waker().clone());
            Poll::Pending
        })
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        // The world may have ended before.
        let _waker = WORLD.with_borrow_mut(|world| world.as_mut()?.timers.remove(&(self.at, self.id)));
    }
}

struct World {
    start: Instant,
    now: Instant,
    rng: Rng,
    waking: Waking,
    tasks: Vec<Task>,
    timers: BTreeMap<(Instant, usize), Waker>,
    timers_made: usize,
    polls: usize,
    network: Option<Network>,
}

/// How many addresses a host has, and what dialling one comes to.
type Network = (usize, Rc<dyn Fn(usize) -> Dialled>);

struct Task {
    /// `None` while it runs, and when it has ended.
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    is_ready: bool,
    ended: bool,
}

enum Drawn {
    Task(usize),
    Timers(Vec<Waker>),
    AllEnded,
    Stuck(Vec<usize>),
}

impl World {
    fn draw(&mut self) -> Drawn {
        let ready: Vec<_> =
            self.tasks.iter().enumerate().filter(|(_, task)| task.is_ready && !task.ended).map(|(i, _)| i).collect();
        if !ready.is_empty() {
            return Drawn::Task(ready[self.rng.below(ready.len())]);
        }
        if self.tasks.iter().all(|task| task.ended) {
            return Drawn::AllEnded;
        }
        let Some((&(at, _), _)) = self.timers.first_key_value() else {
            let waiting = self.tasks.iter().enumerate().filter(|(_, task)| !task.ended);
            return Drawn::Stuck(waiting.map(|(i, _)| i).collect());
        };
        self.now = self.now.max(at);
        let later = self.timers.split_off(&(self.now, usize::MAX));
        Drawn::Timers(std::mem::replace(&mut self.timers, later).into_values().collect())
    }
}

struct TaskWaker(usize);

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        let run = WORLD.with_borrow_mut(|world| {
            // A world that has ended, or another one, may still be woken by what it left.
            let Some(world) = world else { return false };
            let Some(task) = world.tasks.get_mut(self.0) else { return false };
            task.is_ready = true;
            world.waking == Waking::RunsAtOnce && task.future.is_some()
        });
        if run {
            poll(self.0);
        }
    }
}

fn spawn(future: Pin<Box<dyn Future<Output = ()>>>) {
    with(|world| world.tasks.push(Task { future: Some(future), is_ready: true, ended: false }));
}

fn poll(id: usize) {
    let future = with(|world| {
        world.polls += 1;
        assert!(world.polls < POLLS_MAX, "no end of it after {POLLS_MAX} polls");
        let task = &mut world.tasks[id];
        task.is_ready = false;
        task.future.take()
    });
    let Some(mut future) = future else { return };
    let waker = Waker::from(Arc::new(TaskWaker(id)));
    let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
    if polled.is_ready() {
        drop(future);
        with(|world| world.tasks[id].ended = true);
    } else {
        with(|world| world.tasks[id].future = Some(future));
    }
}

fn with<O>(act: impl FnOnce(&mut World) -> O) -> O {
    WORLD.with_borrow_mut(|world| act(world.as_mut().expect("in Sim::run")))
}

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

/// Tells how to replay a failure.
struct Replay(u64);

impl Drop for Replay {
    #[allow(clippy::print_stderr, reason = "a failure has to tell how to replay it")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay with seed {}", self.0);
            // Its tasks are not dropped in the middle of one of them.
            if let Some(world) = WORLD.try_with(|world| world.try_borrow_mut().ok()?.take()).ok().flatten() {
                std::mem::forget(world);
            }
        }
    }
}

/// More than any run needs.
pub const POLLS_MAX: usize = 3_000_000;
