//! The counter protocol under all orders of events, within bounds: a model checker drives the real state machine.

use stateright::{Checker as _, Model, Property};

use super::world::{Budget, Step, TTL, World};

/// More transfers than any of the worlds begins.
const MOST: u64 = 4;

/// A name, and whether a world is so.
type Reached = (&'static str, fn(&Protocol, &World) -> bool);

/// What may happen, and what must be seen to happen somewhere: else the world is too small to mean anything.
struct Protocol {
    budget: Budget,
    reached: &'static [Reached],
}

impl Model for Protocol {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self.budget)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Step>) {
        world.steps(actions);
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        next.step(step);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let always = vec![
            Property::always("a count is never negative, and never more than runs", |_, world: &World| {
                world.genuine().is_none_or(|key| key.count <= MOST)
            }),
            Property::always("no ghost is in etcd beyond the TTL", |_, world: &World| !is_ghost(world, false)),
            Property::always("no ghost is named beyond the TTL, whatever etcd holds", |_, world: &World| {
                !world.is_named() || world.died.is_none_or(|(died, _)| world.now - died <= TTL)
            }),
            Property::always("what the end of a transfer was told is so", |_, world: &World| told_is_so(world)),
            Property::always("when all is quiet, etcd holds the truth", |_, world: &World| quiet_is_true(world)),
        ];
        let reached = self.reached.iter().map(|(name, condition)| Property::sometimes(name, *condition));
        always.into_iter().chain(reached).collect()
    }
}

/// A key of a gateway that is dead for longer than its lease lives; with the leases as they were, or with new time that
/// a new leader gave them.
fn is_ghost(world: &World, with_new_time: bool) -> bool {
    let Some((died, elected)) = world.died else { return false };
    elected == with_new_time && world.genuine().is_some() && world.now - died > TTL
}

/// Who waits for the count to be written waits for nothing less.
fn told_is_so(world: &World) -> bool {
    let Some(gateway) = &world.gateway else { return true };
    if gateway.counter.counted() != Some(gateway.changes) || world.touched {
        return true;
    }
    world
        .key
        .as_ref()
        .is_some_and(|key| key.count == gateway.running && Some(key.known.lease) == gateway.counter.lease())
}

fn quiet_is_true(world: &World) -> bool {
    let Some(gateway) = world.gateway.as_ref().filter(|_| world.is_settled()) else { return true };
    let alive = gateway.counter.lease().is_some_and(|lease| world.leases.contains_key(&lease));
    match gateway.offered {
        // A stranger's value stays until the next refresh, a lost lease until the next keep-alive.
        true => world.touched || !alive || world.key.as_ref().is_some_and(|key| key.count == gateway.running),
        false => world.genuine().is_none_or(|key| Some(key.known.lease) != gateway.counter.lease()),
    }
}

/// Explores everything.
fn explore(budget: Budget, reached: &'static [Reached]) {
    let checker = Protocol { budget, reached }.checker().threads(2).spawn_bfs().join();
    println!("{} states", checker.unique_state_count());
    checker.assert_properties();
}

#[test]
fn transfers_with_lost_answers_and_other_writers() {
    explore(
        Budget { begins: 2, refreshes: 1, breaks: 1, strangers: 1, ..Budget::default() },
        &[
            ("two run, and etcd knows", |_, world| world.key.as_ref().is_some_and(|key| key.count == 2)),
            ("a stranger has written last", |_, world| world.touched && world.is_settled()),
        ],
    );
}

#[test]
fn leases_that_lapse_or_are_revoked() {
    explore(
        Budget { begins: 1, breaks: 1, revocations: 1, ticks: 3, ..Budget::default() },
        &[("a third lease is needed", |_, world| {
            world.gateway.as_ref().is_some_and(|gateway| gateway.counter.lease() == Some(3))
        })],
    );
}

#[test]
fn a_crash_with_an_onlooker_and_a_new_leader() {
    explore(
        Budget { refreshes: 1, crashes: 1, elections: 1, looks: 4, ticks: 3, ..Budget::default() },
        &[
            ("a ghost is in etcd beyond the TTL", |_, world| is_ghost(world, true)),
            ("a live gateway is named", |_, world| world.is_named() && world.gateway.is_some()),
            ("a dead one is named, for a while", |_, world| world.is_named() && world.died.is_some()),
        ],
    );
}

#[test]
fn crashes_and_successors() {
    explore(
        Budget { begins: 1, refreshes: 1, crashes: 3, ticks: 3, ..Budget::default() },
        &[("a successor finds the key of the dead", |_, world| {
            world.gateway.is_some() && world.genuine().is_some_and(|key| key.known.lease == 1 && key.count == 1)
        })],
    );
}

#[test]
fn leaving_for_good() {
    explore(
        Budget { begins: 1, breaks: 2, leaves: 1, strangers: 1, ticks: 1, ..Budget::default() },
        &[("it is out, with a transfer that still runs", |_, world| {
            world.key.is_none() && world.is_settled() && world.gateway.as_ref().is_some_and(|it| it.running == 1)
        })],
    );
}
