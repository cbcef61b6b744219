package io.headrace.warmup;

/** Source text of a COUNT(*), in the form in which the planner writes one: what is warmed is the compiler, and the generated code's way. */
final class CountSource {
    private CountSource() {}

    /** The text of the class of this name. */
    static String of(String name) {
        String row = "org.apache.flink.table.data.RowData";
        return String.join(
                "\n",
                "public final class " + name + " implements org.apache.flink.table.runtime.generated.AggsHandleFunction {",
                "  private long count;",
                "  private boolean countIsNull;",
                "  private final org.apache.flink.table.data.GenericRowData accumulators = new org.apache.flink.table.data.GenericRowData(1);",
                "  private final org.apache.flink.table.data.GenericRowData value = new org.apache.flink.table.data.GenericRowData(1);",
                "  public " + name + "(Object[] references) throws Exception {}",
                "  public void open(org.apache.flink.table.runtime.dataview.StateDataViewStore store) throws Exception {}",
                "  public void accumulate(" + row + " input) throws Exception {",
                "    boolean isNull = countIsNull;",
                "    long result = -1L;",
                "    if (!isNull) { result = (long) (count + ((long) 1L)); }",
                "    count = result;",
                "    countIsNull = isNull;",
                "  }",
                "  public void retract(" + row + " input) throws Exception { throw new RuntimeException(\"no retraction\"); }",
                "  public void merge(" + row + " other) throws Exception { throw new RuntimeException(\"no merge\"); }",
                "  public void setAccumulators(" + row + " given) throws Exception {",
                "    countIsNull = given.isNullAt(0);",
                "    count = countIsNull ? -1L : given.getLong(0);",
                "  }",
                "  public void resetAccumulators() throws Exception { count = 0L; countIsNull = false; }",
                "  public " + row + " getAccumulators() throws Exception {",
                "    accumulators.setField(0, countIsNull ? null : (Object) Long.valueOf(count));",
                "    return accumulators;",
                "  }",
                "  public " + row + " createAccumulators() throws Exception {",
                "    org.apache.flink.table.data.GenericRowData made = new org.apache.flink.table.data.GenericRowData(1);",
                "    made.setField(0, Long.valueOf(0L));",
                "    return made;",
                "  }",
                "  public " + row + " getValue() throws Exception {",
                "    value.setField(0, countIsNull ? null : (Object) Long.valueOf(count));",
                "    return value;",
                "  }",
                "  public void setWindowSize(int size) {}",
                "  public void cleanup() throws Exception {}",
                "  public void close() throws Exception {}",
                "}");
    }
}
