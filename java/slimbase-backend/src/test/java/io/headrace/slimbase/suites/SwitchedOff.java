package io.headrace.slimbase.suites;

import java.lang.annotation.ElementType;
import java.lang.annotation.Inherited;
import java.lang.annotation.Repeatable;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;
import org.junit.jupiter.api.extension.ConditionEvaluationResult;
import org.junit.jupiter.api.extension.ExecutionCondition;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.extension.ExtensionContext;

/** Names a test of one of Flink's suites that SlimBase does not run, and why. */
@Retention(RetentionPolicy.RUNTIME)
@Target(ElementType.TYPE)
@Inherited
@Repeatable(SwitchedOff.All.class)
@ExtendWith(SwitchedOff.Condition.class)
public @interface SwitchedOff {
    /** The test method. */
    String test();

    /** Why it cannot hold. */
    String reason();

    /** Several of them. */
    @Retention(RetentionPolicy.RUNTIME)
    @Target(ElementType.TYPE)
    @ExtendWith(Condition.class)
    @Inherited
    @interface All {
        SwitchedOff[] value();
    }

    /** Skips the named tests. */
    final class Condition implements ExecutionCondition {
        @Override
        public ConditionEvaluationResult evaluateExecutionCondition(ExtensionContext context) {
            String method = context.getTestMethod().map(each -> each.getName()).orElse("");
            for (SwitchedOff each : context.getRequiredTestClass().getAnnotationsByType(SwitchedOff.class)) {
                if (each.test().equals(method)) {
                    return ConditionEvaluationResult.disabled(each.reason());
                }
            }
            return ConditionEvaluationResult.enabled("runs");
        }
    }
}
