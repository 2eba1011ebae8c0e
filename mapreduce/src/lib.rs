//! What a job's author imports: Mapper, Reducer, Job; and the runtime of the task process.
