using Saturn.Prune.Methods;

namespace Saturn.Prune;

/// <summary>
/// Steers λ towards a sparsity. The plan s*(t) rises to the target until three fifths of the run, s* = target·(1 − (1 − p)²) with p = t/(0.6·T), so that early deaths save the most time. At every tick the
/// sparsity that the removal of all silent units would bring is compared with the plan: ln λ = ln λ₀ + proportional·e + integral·Σe, e = (s* − s)/target. Once the target is reached the pressure is 0 until units
/// revive; a census then removes no more than the target asks for.
/// </summary>
internal sealed class PressureController(double target, SparsityMetric metric, double start)
{
    private const double PlannedShare = 0.6;
    private const double Proportional = 4;
    private const double Integral = 0.1;
    private const double Slack = 1e-9;

    // A unit counts as silent when it was so on this many batches, one a tick.
    private const int Memory = 3;

    // Where λ was not given: weak for every optimizer, so that the controller approaches from below.
    private const double DefaultStart = 1e-4;

    private readonly Dictionary<string, Queue<bool[]>> seen = [];
    private readonly double start = start > 0 ? start : DefaultStart;
    private double errorSum;
    private double logStrength = Math.Log(start > 0 ? start : DefaultStart);
    private bool quiet;

    /// <summary>Whether the target is reached by what was removed.</summary>
    public bool HasArrived { get; private set; }

    /// <summary>Refuses a target that no removal reaches.</summary>
    public void Begin(PruningRun run)
    {
        RemovalPreview all = new(run);
        foreach (UnitGroup group in run.Graph.Groups.Where(group => group.PinnedBecause is null && group.Channels > 0))
        {
            all.Remove(group, group.Activity.AllRemoved is null ? group.Channels - 1 : group.Channels);
        }

        double most = all.Sparsity(metric);
        if (most < target && !HasArrived)
        {
            string metricName = metric.ToString().ToLowerInvariant();
            throw new ArgumentException(
                $"A sparsity of {target:0.###} of {metricName} cannot be met: with one unit left in every prunable layer the network has {most:0.###}. Ask for at most {Math.Floor(most * 1000) / 1000:0.###}, or for another --target-metric.");
        }
    }

    /// <summary>λ of a step.</summary>
    public double Lambda(PruningRun run, long step)
    {
        if (HasArrived)
        {
            return 0;
        }

        long tick = Math.Max(2, run.TotalSteps / 150);
        if (step > 0 && step % tick == 0)
        {
            Observe(run, step);
        }

        return quiet ? 0 : Math.Exp(logStrength);
    }

    /// <summary>Takes marks back so that the removal does not go beyond the target.</summary>
    public void Limit(PruningRun run, Dictionary<UnitGroup, bool[]> marks)
    {
        // Units that are silent now are worth the same; taking them layer by layer in turn spreads the cut.
        List<UnitIndex> order = [.. marks
            .Where(pair => pair.Key.PinnedBecause is null)
            .SelectMany(pair => Enumerable.Range(0, pair.Value.Length).Where(c => pair.Value[c]).Select(c => new UnitIndex(pair.Key, c)))];
        RemovalPreview preview = new(run);
        int taken = HasArrived ? 0 : preview.RemoveUntil(order, target, metric);
        foreach (UnitIndex unit in order.Skip(taken))
        {
            marks[unit.Group][unit.Channel] = false;
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
                $"The target of {target:0.###} of {metric.ToString().ToLowerInvariant()} was not reached: {reached:0.###} were gone at the end, with λ at {Math.Exp(logStrength):0.###e0}. Train longer, begin with a larger --lambda, or take the census more often (--prune-every).");
        }
    }

    public void Save(MethodState state)
    {
        state.Numbers["controller.error-sum"] = errorSum;
        state.Numbers["controller.log-lambda"] = logStrength;
        state.Numbers["controller.quiet"] = quiet ? 1 : 0;
        state.Numbers["controller.arrived"] = HasArrived ? 1 : 0;
        foreach (var (name, flags) in seen)
        {
            int i = 0;
            foreach (bool[] active in flags)
            {
                state.Arrays[$"controller.seen.{i++}.{name}"] = Array.ConvertAll(active, flag => flag ? 1f : 0f);
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
            foreach (var (name, flags) in state.Arrays.Where(pair => pair.Key.StartsWith(prefix, StringComparison.Ordinal)))
            {
                Remember(name[prefix.Length..], Array.ConvertAll(flags, flag => flag != 0));
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
        RemovalPreview preview = new(run);
        foreach (UnitGroup group in run.Graph.Groups)
        {
            Queue<bool[]> history = Remember(group.Name, group.Activity.ReadActive());
            if (group.PinnedBecause is not null || history.Count < Memory)
            {
                continue;
            }

            int silent = Enumerable.Range(0, group.Channels).Count(c => history.All(active => !active[c]));
            preview.Remove(group, Math.Min(silent, group.Activity.AllRemoved is null ? group.Channels - 1 : group.Channels));
        }

        double position = Math.Min(1, step / (PlannedShare * run.TotalSteps));
        double plan = target * (1 - (1 - position) * (1 - position));
        double reached = preview.Sparsity(metric);
        double error = (plan - reached) / target;

        // The integral must not grow while nothing can have died yet, nor sink far below the start while the plan is ahead of time.
        errorSum = Math.Clamp(errorSum + error, -60, 60);
        logStrength = Math.Log(start) + Proportional * error + Integral * errorSum;
        quiet = reached >= target;
    }

    private Queue<bool[]> Remember(string group, bool[] active)
    {
        if (!seen.TryGetValue(group, out Queue<bool[]>? history) || (history.Count > 0 && history.Peek().Length != active.Length))
        {
            seen[group] = history = [];
        }

        history.Enqueue(active);
        if (history.Count > Memory)
        {
            history.Dequeue();
        }

        return history;
    }
}
