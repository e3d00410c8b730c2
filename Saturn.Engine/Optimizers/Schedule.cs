namespace Saturn.Engine.Optimizers;

/// <summary>A value that changes over training: a learning rate, a regulariser's strength, a noise level.</summary>
public abstract class Schedule
{
    /// <summary>The value to use in a step, counted from 0.</summary>
    public abstract double At(long step);

    /// <summary>Throws unless a length in steps is at least 1.</summary>
    protected static long RequireLength(long steps) =>
        steps >= 1 ? steps : throw new ArgumentOutOfRangeException(nameof(steps), $"A schedule spans at least one step, but {steps} were asked for.");
}

/// <summary>The same value always.</summary>
public sealed class ConstantSchedule(double value) : Schedule
{
    /// <inheritdoc/>
    public override double At(long step) => value;
}

/// <summary>Multiplied by a factor every so many steps: value·factor^⌊step/interval⌋.</summary>
public sealed class StepSchedule(double value, long interval, double factor) : Schedule
{
    private readonly long interval = RequireLength(interval);

    /// <inheritdoc/>
    public override double At(long step) => value * Math.Pow(factor, step / interval);
}

/// <summary>Multiplied by a factor at each of the given steps.</summary>
public sealed class MultiStepSchedule(double value, IReadOnlyList<long> milestones, double factor) : Schedule
{
    /// <inheritdoc/>
    public override double At(long step)
    {
        double result = value;
        for (int i = 0; i < milestones.Count; i++)
        {
            if (step >= milestones[i])
            {
                result *= factor;
            }
        }

        return result;
    }
}

/// <summary>Half a cosine from the peak to the final value over the span, which is then held: final + (peak − final)·(1 + cos(πt/span))/2.</summary>
public sealed class CosineSchedule(double peak, long span, double final = 0) : Schedule
{
    private readonly long span = RequireLength(span);

    /// <inheritdoc/>
    public override double At(long step) => final + (peak - final) * 0.5 * (1 + Math.Cos(Math.PI * Math.Min(step, span) / span));
}

/// <summary>Rises linearly from <paramref name="start"/> to the value that another schedule begins with, then follows that one.</summary>
public sealed class WarmupSchedule(long steps, Schedule next, double start = 0) : Schedule
{
    private readonly long steps = RequireLength(steps);

    /// <inheritdoc/>
    public override double At(long step) => step >= steps ? next.At(step - steps) : start + (next.At(0) - start) * step / steps;
}

/// <summary>
/// One cycle: linear from 0 to the peak over the first part of the span, then half a cosine down to 0, which is held (Smith and Topin, 2019; "Maxwell's Demon at
/// Work", section 3.1, for λ and σ).
/// </summary>
/// <param name="peak">The largest value.</param>
/// <param name="span">Steps from the start to the end of the cosine.</param>
/// <param name="warmupShare">Share of the span before the peak, in [0, 1).</param>
public sealed class OneCycleSchedule(double peak, long span, double warmupShare = 0.3) : Schedule
{
    private readonly long span = RequireLength(span);
    private readonly double warmupShare = warmupShare is >= 0 and < 1
        ? warmupShare
        : throw new ArgumentOutOfRangeException(nameof(warmupShare), $"The warm-up's share of a cycle must lie in [0, 1), but is {warmupShare}.");

    /// <inheritdoc/>
    public override double At(long step)
    {
        double position = Math.Min((double)step / span, 1);
        return position < warmupShare
            ? peak * position / warmupShare
            : peak * 0.5 * (1 + Math.Cos(Math.PI * (position - warmupShare) / (1 - warmupShare)));
    }
}

/// <summary>
/// One cycle with cosine ends: from peak/25 up to the peak over the first part of the span, down to peak/250,000, which is held. The form that optax gives, and the
/// paper's authors use.
/// </summary>
public sealed class CosineOneCycleSchedule(double peak, long span, double warmupShare = 0.3) : Schedule
{
    private readonly long span = RequireLength(span);

    /// <inheritdoc/>
    public override double At(long step)
    {
        double turn = warmupShare * span;
        return step < turn
            ? Interpolate(peak / 25, peak, step / turn)
            : Interpolate(peak, peak / 250_000, Math.Min((step - turn) / (span - turn), 1));
    }

    private static double Interpolate(double from, double to, double position) => from + (to - from) * (1 - Math.Cos(Math.PI * position)) / 2;
}
