package io.headrace.statebench.join;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Modifier;
import java.lang.reflect.Proxy;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.Set;
import org.apache.flink.streaming.api.operators.SimpleOperatorFactory;
import org.apache.flink.streaming.api.operators.StreamOperator;
import org.apache.flink.streaming.api.operators.StreamOperatorParameters;
import org.apache.flink.streaming.api.operators.TwoInputStreamOperatorFactory;
import org.apache.flink.streaming.api.operators.TwoInputStreamOperator;

/** Makes an operator as Flink would, behind a proxy that tells how long each row took. */
final class TimedFactory<L, R, T> extends SimpleOperatorFactory<T> implements TwoInputStreamOperatorFactory<L, R, T> {
    private static final long serialVersionUID = 1L;

    TimedFactory(TwoInputStreamOperator<L, R, T> operator) {
        super(operator);
    }

    @Override
    @SuppressWarnings("unchecked")
    public <O extends StreamOperator<T>> O createStreamOperator(StreamOperatorParameters<T> parameters) {
        O operator = super.createStreamOperator(parameters);
        Set<Class<?>> faces = new LinkedHashSet<>();
        for (Class<?> each = operator.getClass(); each != null; each = each.getSuperclass()) {
            Arrays.stream(each.getInterfaces()).filter(face -> Modifier.isPublic(face.getModifiers())).forEach(faces::add);
        }
        return (O) Proxy.newProxyInstance(
                operator.getClass().getClassLoader(), faces.toArray(new Class<?>[0]), (proxy, method, arguments) -> {
                    boolean isLeft = method.getName().equals("processElement1");
                    boolean isRight = method.getName().equals("processElement2");
                    long begin = isLeft || isRight ? System.nanoTime() : 0;
                    try {
                        return method.invoke(operator, arguments);
                    } catch (InvocationTargetException e) {
                        throw e.getCause();
                    } finally {
                        if (isLeft) {
                            Probes.rowTook(System.nanoTime() - begin);
                        } else if (isRight) {
                            Probes.probeTook(System.nanoTime() - begin);
                        }
                    }
                });
    }
}
