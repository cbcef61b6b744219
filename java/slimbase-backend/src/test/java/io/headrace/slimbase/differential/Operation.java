package io.headrace.slimbase.differential;

/** A step of the script on one subject's subtask, with the key set; what it returns must be the same everywhere. */
@FunctionalInterface
interface Operation<K> {
    Object apply(Subject.Subtask<K> at) throws Exception;
}
