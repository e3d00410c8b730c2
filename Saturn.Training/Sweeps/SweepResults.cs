namespace Saturn.Training.Sweeps;

/// <summary>A point of an arm's grid over its finished seeds.</summary>
public sealed record SweepRow
{
    /// <summary>The arm.</summary>
    public required string Arm { get; init; }

    /// <summary>The point's name, such as <c>demp-lambda=0.01</c>.</summary>
    public required string Point { get; init; }

    /// <summary>The values of the arm's axes.</summary>
    public required IReadOnlyList<(string Option, string Value)> Axes { get; init; }

    /// <summary>Seeds that have finished.</summary>
    public required int Finished { get; init; }

    /// <summary>Seeds of the file.</summary>
    public required int Planned { get; init; }

    /// <summary>Validation accuracy at the end.</summary>
    public Spread? Accuracy { get; init; }

    /// <summary>The best validation accuracy of any epoch.</summary>
    public Spread? BestAccuracy { get; init; }

    /// <summary>Share of the units that are gone.</summary>
    public Spread? NeuronSparsity { get; init; }

    /// <summary>Share of the parameters that are gone.</summary>
    public Spread? WeightSparsity { get; init; }

    /// <summary>Training operations, of dense.</summary>
    public Spread? TrainingFlopsRatio { get; init; }

    /// <summary>Units dead at the last count of <c>--count-dead</c>, where the runs counted.</summary>
    public Spread? CountedDead { get; init; }

    /// <summary>Inference operations, of dense.</summary>
    public Spread? InferenceFlopsRatio { get; init; }

    /// <summary>The same where only whole units count as gone.</summary>
    public Spread? StructuralInferenceFlopsRatio { get; init; }

    /// <summary>Milliseconds of the first steps.</summary>
    public Spread? MsPerStepFirst { get; init; }

    /// <summary>Milliseconds of the last steps.</summary>
    public Spread? MsPerStepLast { get; init; }

    /// <summary>Milliseconds of the last steps over those of the first.</summary>
    public Spread? StepTimeRatio { get; init; }

    /// <summary>Operations of the last steps over those of the first.</summary>
    public Spread? StepFlopsRatio { get; init; }

    /// <summary>Training seconds.</summary>
    public Spread? Seconds { get; init; }

    /// <summary>Training seconds over those of the arm <c>dense</c> with the same seed (and the same values on the axes of that arm).</summary>
    public Spread? SecondsRatio { get; init; }
}

/// <summary>All that a sweep has found so far.</summary>
public sealed record SweepResults
{
    /// <summary>The arm that others are compared with.</summary>
    public const string Baseline = "dense";

    /// <summary>The sweep's name.</summary>
    public required string Name { get; init; }

    /// <summary>Points with at least one finished seed, in the order of the file.</summary>
    public required IReadOnlyList<SweepRow> Rows { get; init; }

    /// <summary>Cells without a result.</summary>
    public required IReadOnlyList<(SweepCell Cell, CellState State)> Incomplete { get; init; }

    /// <summary>The devices that the results were measured on.</summary>
    public required IReadOnlyList<string> Devices { get; init; }

    /// <summary>Collects the summaries in a sweep's folder.</summary>
    /// <exception cref="IOException">One is damaged.</exception>
    public static SweepResults Collect(string name, IEnumerable<PlannedCell> cells, SweepFolder folder)
    {
        List<(SweepCell Cell, CellResult? Result)> collected = [];
        List<(SweepCell, CellState)> incomplete = [];
        foreach (PlannedCell planned in cells)
        {
            CellState state = folder.State(planned);
            collected.Add((planned.Cell, state == CellState.Done ? CellResult.Read(folder.SummaryPath(planned.Cell)) : null));
            if (state != CellState.Done)
            {
                incomplete.Add((planned.Cell, state));
            }
        }

        return new SweepResults
        {
            Name = name,
            Rows = Aggregate(collected),
            Incomplete = incomplete,
            Devices = [.. collected.Select(cell => cell.Result?.Device).OfType<string>().Where(device => device.Length > 0).Distinct()],
        };
    }

    /// <summary>Gathers the seeds of each point; cells without a result count as planned.</summary>
    public static IReadOnlyList<SweepRow> Aggregate(IReadOnlyList<(SweepCell Cell, CellResult? Result)> cells)
    {
        var dense = cells.Where(cell => cell.Cell.Arm == Baseline && cell.Result is not null).ToArray();
        List<SweepRow> rows = [];
        foreach (var point in cells.GroupBy(cell => cell.Cell.Point))
        {
            SweepCell first = point.First().Cell;
            CellResult[] results = [.. point.Select(cell => cell.Result).OfType<CellResult>()];
            if (results.Length == 0)
            {
                continue;
            }

            rows.Add(new SweepRow
            {
                Arm = first.Arm,
                Point = first.Point,
                Axes = [.. first.Axes.Select(axis => (axis, first.Label(axis)!))],
                Finished = results.Length,
                Planned = point.Count(),
                Accuracy = Over(result => result.Accuracy),
                BestAccuracy = Over(result => result.BestAccuracy),
                NeuronSparsity = Over(result => result.NeuronSparsity),
                WeightSparsity = Over(result => result.WeightSparsity),
                TrainingFlopsRatio = Over(result => result.TrainingFlopsRatio),
                CountedDead = Over(result => result.CountedDead),
                InferenceFlopsRatio = Over(result => result.InferenceFlopsRatio),
                StructuralInferenceFlopsRatio = Over(result => result.StructuralInferenceFlopsRatio),
                MsPerStepFirst = Over(result => result.MsPerStepFirst),
                MsPerStepLast = Over(result => result.MsPerStepLast),
                StepTimeRatio = Over(result => result.StepTimeRatio),
                StepFlopsRatio = Over(result => result.StepFlopsRatio),
                Seconds = Over(result => result.Seconds),
                SecondsRatio = Spread.Of(point.Select(cell => cell.Result?.Seconds / DenseSeconds(cell.Cell))),
            });

            Spread? Over(Func<CellResult, double?> figure) => Spread.Of(results.Select(figure));
        }

        return rows;

        // The one dense cell of this seed that agrees on everything that the dense arm varies; where several do, none is the one to compare with.
        double? DenseSeconds(SweepCell cell)
        {
            var same = dense.Where(other => other.Cell.Seed == cell.Seed && other.Cell.Axes.All(axis => other.Cell.Label(axis) == cell.Label(axis))).ToArray();
            return same.Length == 1 ? same[0].Result!.Seconds : null;
        }
    }
}
