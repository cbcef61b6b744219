package io.headrace.slimbase.engine;

/** Sees records one by one; must not write to the engine. */
@FunctionalInterface
public interface RecordVisitor {
    void visit(long record) throws Exception;
}
