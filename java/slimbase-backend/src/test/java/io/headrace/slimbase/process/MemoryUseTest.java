package io.headrace.slimbase.process;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * The resident size of a process grows by no more than the budget and 5 %, whatever is done to the state. The heap has a fixed size and is touched beforehand, so what
 * grows is outside of it.
 */
@EnabledOnOs(OS.LINUX)
class MemoryUseTest {
    private static final double OVER = 1.05;
    /** The load must have come to where the engine itself calls memory tight (SlimEngine.garbageShare), or the test says nothing; 0.94 to 0.98 were seen. */
    private static final double BRIM = 0.9;

    /** The quick compiler only: the other one's own memory comes and goes by more than what is measured. */
    private static final List<String> JVM =
            List.of("-Xms192m", "-Xmx192m", "-XX:+AlwaysPreTouch", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto");

    @ParameterizedTest(name = "{0} MiB, {1}")
    @CsvSource({"256,native,4000000", "512,native,8000000", "256,java,4000000"})
    void growthIsWithinTheBudget(String budgetMib, String allocator, String operations) throws Exception {
        List<String> lines = Fork.lines(MemoryUse.class, JVM, List.of(budgetMib, allocator, operations, "1"));
        String last = lines.get(lines.size() - 1);
        System.out.println("memory use: " + last);
        Map<String, String> figures =
                Arrays.stream(last.split(" ")).map(each -> each.split("=")).collect(Collectors.toMap(each -> each[0], each -> each[1]));
        long budget = Long.parseLong(figures.get("budget_bytes"));
        assertTrue(Long.parseLong(figures.get("used_bytes_max")) > budget * BRIM, last);
        assertTrue(Long.parseLong(figures.get("growth_bytes_max")) <= budget * OVER, last);
    }
}
