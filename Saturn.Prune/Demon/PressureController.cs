using Saturn.Engine;
using Saturn.Prune.Methods;

namespace Saturn.Prune;

/// <summary>
/// Steers λ towards a sparsity, with a deadline d, three fifths of the run's T steps by default. The plan s*(t) rises to the target until two thirds of the deadline, s* = target·(1 − (1 − p)²) with p = t/(⅔·d·T), so that early deaths save the most time. At every tick it
/// is compared with a forecast s: the sparsity that the removal of all silent units would bring, and of those whose scale |γ| shrinks so fast that it is gone within the horizon, since a scale under pressure
/// dies long after it was doomed. ln λ = ln λ₀ + proportional·e + integral·Σe, e = (s*(t + horizon) − s)/target, the sum without the forecast once the plan is at its end. Once the silent ones reach the target the pressure is 0 until units revive; a census
/// then removes no more than the target asks for. If too few have died by the deadline, the census of that step also removes the least active of the living, and says so.
/// </summary>
/// <param name="target">The sparsity, 0 … 1.</param>
/// <param name="metric">What it counts.</param>
/// <param name="start">λ₀.</param>
/// <param name="deadline">d, as a share of the run, above 0 and at most 1.</param>
internal sealed class PressureController(double target, SparsityMetric metric, double start, double deadline)
{
    private const double Proportional = 4;
    private const double Integral = 0.1;
    private const double LateGain = 2;

    // λ never exceeds fifty times its start: beyond that it drowns the loss and kills no faster, since what limits death is then the learning rate.
    private const double MostLogGain = 3.912;
    private const int Ticks = 150;
    private const int HorizonTicks = 10;
    private const double Slack = 0.0025;

    // A unit counts as silent when it was so on this many batches, one a tick.
    private const int Memory = 3;

    private readonly double plannedShare = deadline * 2 / 3;
    private readonly Dictionary<string, Queue<float[]>> seen = [];
    private double errorSum;
    private double logStrength = Math.Log(start);
    private bool quiet;

    /// <summary>Whether the target is reached by what was removed.</summary>
    public bool HasArrived { get; private set; }

    /// <summary>The step after which the target is enforced.</summary>
    public long DeadlineOf(long totalSteps) => Math.Max(1, (long)(deadline * totalSteps));

    /// <summary>Refuses a target that no removal reaches.</summary>
    public void Begin(PruningRun run)
    {
        if (!HasArrived)
        {
            RemovalPreview.RequirePossible(run, target, metric);
        }
    }

    /// <summary>λ of a step.</summary>
    public double Lambda(PruningRun run, long step)
    {
        if (HasArrived)
        {
            return 0;
        }

        long tick = Math.Max(2, run.TotalSteps / Ticks);
        if (step > 0 && step % tick == 0)
        {
            Observe(run, step);
        }

        return quiet ? 0 : Math.Exp(logStrength);
    }

    /// <summary>Makes the marks fit the target: takes back what goes beyond it, and past the deadline adds the least active units that it lacks.</summary>
    /// <param name="run">The run.</param>
    /// <param name="marks">The dead.</param>
    /// <param name="statistics">The census.</param>
    /// <param name="stepsTaken">Steps taken.</param>
    public void Limit(PruningRun run, Dictionary<UnitGroup, bool[]> marks, IReadOnlyDictionary<UnitGroup, ChannelStatistics> statistics, long stepsTaken)
    {
        List<(UnitIndex Unit, double Activity)> living = [];
        List<UnitIndex> order = [];
        foreach (var (group, flags) in marks.Where(pair => pair.Key.PinnedBecause is null))
        {
            double[] activity = [.. Enumerable.Range(0, flags.Length).Select(c => Math.Abs(statistics[group].Mean(c)))];
            double layer = Math.Max(activity.Average(), double.Epsilon);
            bool mayVanish = group.Activity.AllRemoved is not null;
            int strongest = Array.IndexOf(activity, activity.Max());
            for (int c = 0; c < flags.Length; c++)
            {
                if (!mayVanish && c == strongest)
                {
                    continue;
                }

                if (flags[c])
                {
                    order.Add(new UnitIndex(group, c));
                }
                else
                {
                    living.Add((new UnitIndex(group, c), activity[c] / layer));
                }
            }

            Array.Clear(flags);
        }

        int dead = order.Count;
        if (stepsTaken >= DeadlineOf(run.TotalSteps))
        {
            order.AddRange(living.OrderBy(entry => entry.Activity).Select(entry => entry.Unit));
        }

        int taken = HasArrived ? 0 : new RemovalPreview(run).RemoveUntil(order, target, metric);
        foreach (UnitIndex unit in order.Take(taken))
        {
            marks[unit.Group][unit.Channel] = true;
        }

        if (taken > dead)
        {
            run.Warn(
                $"Too few units had died by step {stepsTaken} for the target, with λ at {Math.Exp(logStrength):0.###e0}: {taken - dead} that were still active, the least active of their layers, were removed with {dead} dead ones. A longer run, a larger --lambda or more learning rate lets them die by themselves.");
        }
    }

    /// <summary>Looks at where a removal has led.</summary>
    public void Removed(PruningRun run)
    {
        seen.Clear();

        // Arrived also where one more unit would lead further away than the network is now.
        HasArrived = Sparsity(run) >= target - Slack || IsNearest(run);
    }

    /// <summary>Says so if the run ended short of its target.</summary>
    public void WarnIfShort(PruningRun run)
    {
        double reached = Sparsity(run);
        if (!HasArrived && target - reached > 0.01)
        {
            run.Warn(
                $"The target of {target:0.###} of {metric.ToString().ToLowerInvariant()} was not reached: {reached:0.###} were gone at the end, since the units that remained are tied to others.");
        }
    }

    public void Save(MethodState state)
    {
        state.Numbers["controller.error-sum"] = errorSum;
        state.Numbers["controller.log-lambda"] = logStrength;
        state.Numbers["controller.quiet"] = quiet ? 1 : 0;
        state.Numbers["controller.arrived"] = HasArrived ? 1 : 0;
        foreach (var (name, history) in seen)
        {
            int i = 0;
            foreach (float[] units in history)
            {
                state.Arrays[$"controller.seen.{i++}.{name}"] = units;
            }
        }
    }

    public void Load(MethodState state)
    {
        errorSum = state.Number("controller.error-sum");
        logStrength = state.Number("controller.log-lambda", Math.Log(start));
        quiet = state.Number("controller.quiet") != 0;
        HasArrived = state.Number("controller.arrived") != 0;
        for (int i = 0; i < Memory; i++)
        {
            string prefix = $"controller.seen.{i}.";
            foreach (var (name, units) in state.Arrays.Where(pair => pair.Key.StartsWith(prefix, StringComparison.Ordinal)))
            {
                Remember(name[prefix.Length..], units);
            }
        }
    }

    private double Sparsity(PruningRun run) => run.Accounting.Counts.Sparsity(metric, run.Accounting.DenseCounts);

    private bool IsNearest(PruningRun run)
    {
        double now = Sparsity(run);
        double nearest = double.PositiveInfinity;
        foreach (UnitGroup group in run.Graph.Groups.Where(group => group.PinnedBecause is null && group.Channels > 1))
        {
            RemovalPreview preview = new(run);
            preview.Remove(group);
            nearest = Math.Min(nearest, Math.Abs(preview.Sparsity(metric) - target));
        }

        return target - now <= nearest;
    }

    private void Observe(PruningRun run, long step)
    {
        RemovalPreview now = new(run);
        RemovalPreview soon = new(run);
        foreach (UnitGroup group in run.Graph.Groups)
        {
            float[][] history = [.. Remember(group.Name, State(group))];
            if (group.PinnedBecause is not null || history.Length < Memory)
            {
                continue;
            }

            int most = group.Activity.AllRemoved is null ? group.Channels - 1 : group.Channels;
            bool[] silent = [.. Enumerable.Range(0, group.Channels).Select(c => history.All(state => state[c] < 0))];
            now.Remove(group, Math.Min(most, silent.Count(flag => flag)));
            soon.Remove(group, Math.Min(most, Enumerable.Range(0, group.Channels).Count(c => silent[c] || IsDoomed(history[0][c], history[^1][c]))));
        }

        double position = Math.Min(1, (step + (double)HorizonTicks / Ticks * run.TotalSteps) / (plannedShare * run.TotalSteps));
        double plan = target * (1 - (1 - position) * (1 - position));
        double error = (plan - soon.Sparsity(metric)) / target;

        // Once the plan is at its end, the integral looks at what is silent now: a forecast that does not come true must not hold λ down.
        double lasting = step >= plannedShare * run.TotalSteps ? LateGain * (target - now.Sparsity(metric)) / target : error;
        errorSum = Math.Clamp(errorSum + lasting, -60, 60);
        logStrength = Math.Log(start) + Math.Min(Proportional * error + Integral * errorSum, MostLogGain);
        quiet = now.Sparsity(metric) >= target;
    }

    /// <summary>Whether a scale, going on as it has over the last ticks, is gone within the horizon.</summary>
    private static bool IsDoomed(float before, float now)
    {
        double shrinkage = (Math.Abs(before) - Math.Abs(now)) / (Memory - 1);
        return shrinkage > 0 && Math.Abs(now) < shrinkage * HorizonTicks;
    }

    /// <summary>The sum of |γ| in front of every unit, negated where the unit is silent; 1 where there is no γ.</summary>
    private static float[] State(UnitGroup group)
    {
        bool[] active = group.Activity.ReadActive();
        float[] state = new float[active.Length];
        Parameter[] scales = [.. group.Producers.Where(parameter => parameter.Role == ParameterRole.NormalizationScale && !parameter.IsRemoved)];
        Array.Fill(state, scales.Length == 0 ? 1 : float.Epsilon);
        foreach (Parameter scale in scales)
        {
            float[] values = scale.Value.ToArray();
            for (int c = 0; c < state.Length; c++)
            {
                state[c] += Math.Abs(values[c]);
            }
        }

        for (int c = 0; c < state.Length; c++)
        {
            state[c] = active[c] ? state[c] : -state[c];
        }

        return state;
    }

    private Queue<float[]> Remember(string group, float[] state)
    {
        if (!seen.TryGetValue(group, out Queue<float[]>? history) || (history.Count > 0 && history.Peek().Length != state.Length))
        {
            seen[group] = history = [];
        }

        history.Enqueue(state);
        if (history.Count > Memory)
        {
            history.Dequeue();
        }

        return history;
    }
}
