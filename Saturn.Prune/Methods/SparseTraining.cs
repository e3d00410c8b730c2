using Saturn.Engine;

namespace Saturn.Prune.Methods;

/// <summary>
/// Dynamic sparse training: sparse from the first step, with random masks of Erdős–Rényi kernel densities; every so many steps until the stop, each layer drops the fraction
/// f_t = α/2·(1 + cos(π·t/T_stop)) of its weights, the smallest, and grows as many. On an update step the optimizer does nothing, as in the authors' code; weights that come back start at zero.
/// </summary>
public abstract class SparseTraining : MaskedPruning
{
    /// <summary>α.</summary>
    [Setting("drop-fraction", "Share of a layer's weights that the first update replaces, above 0 and below 1.")]
    public double DropFraction { get; set; } = 0.3;

    /// <summary>When updates stop.</summary>
    [Setting("stop", "When updates stop, as a share of the training.")]
    public double Stop { get; set; } = 0.75;

    /// <inheritdoc/>
    public override void Validate()
    {
        base.Validate();
        Require(DropFraction is > 0 and < 1, "drop-fraction", "above 0 and below 1", DropFraction);
        Require(Stop is > 0 and <= 1, "stop", "above 0 and at most 1", Stop);
    }

    /// <summary>f_t.</summary>
    public double DropFractionAt(long step, long totalSteps) => DropFraction / 2 * (1 + Math.Cos(Math.PI * step / (Stop * totalSteps)));

    /// <inheritdoc/>
    public override void AtStart(PruningRun run)
    {
        WeightMasks masks = run.UseMasks();
        foreach (var (weight, density) in ErkDensities(run, 1 - TargetSparsity))
        {
            masks.Set(weight, StartingMask(run, weight, density), run.Optimizer);
        }

        run.CountWeights();
    }

    /// <inheritdoc/>
    public override void BeforeUpdate(PruningRun run, long step)
    {
        if (!IsUpdateDue(run, step))
        {
            return;
        }

        UpdateMasks(run, step, DropFractionAt(step, run.TotalSteps));
        run.CountWeights();

        // The step itself is skipped: nothing has a gradient any more.
        run.Optimizer.ClearGradients();
    }

    /// <summary>Whether masks change at a step: every so many steps until the stop.</summary>
    protected virtual bool IsUpdateDue(PruningRun run, long step) => step > 0 && step % UpdateEvery == 0 && step < Stop * run.TotalSteps;

    /// <summary>The mask that a layer starts with: as many random weights as the density asks for.</summary>
    protected virtual bool[] StartingMask(PruningRun run, Parameter weight, double density)
    {
        bool[] open = new bool[weight.Shape.ElementCount];
        foreach (int position in WeightRanking.Lowest(p => Draw(run, weight, p, 0), _ => true, open.Length, (int)Math.Round(density * open.Length)))
        {
            open[position] = true;
        }

        return open;
    }

    /// <summary>Drops and grows in all layers.</summary>
    protected virtual void UpdateMasks(PruningRun run, long step, double fraction)
    {
        WeightMasks masks = run.UseMasks();
        foreach (Parameter weight in masks.Weights.ToArray())
        {
            bool[] open = masks.Read(weight);
            int present = open.Count(flag => flag);
            int replaced = (int)(fraction * present);
            if (replaced == 0 || present == open.Length)
            {
                continue;
            }

            float[] values = weight.Value.ToArray();
            foreach (int position in WeightRanking.Lowest(p => MathF.Abs(values[p]), p => open[p], open.Length, replaced))
            {
                open[position] = false;
            }

            Func<int, float> growth = Growth(run, weight, step);
            foreach (int position in WeightRanking.Highest(growth, p => !open[p], open.Length, replaced))
            {
                open[position] = true;
            }

            masks.Set(weight, open, run.Optimizer);
        }
    }

    /// <summary>By what absent weights are grown, the highest first.</summary>
    protected abstract Func<int, float> Growth(PruningRun run, Parameter weight, long step);

    /// <summary>|∂L/∂w| of all weights, absent ones included.</summary>
    protected static float[] DenseGradient(Parameter weight) =>
        weight.HasGradient ? Array.ConvertAll(weight.Gradient.ToArray(), MathF.Abs) : new float[weight.Shape.ElementCount];
}

/// <summary>SET: grows at random.</summary>
[Method("set", "Sparse from the start; the smallest weights make room for random ones.", "Mocanu et al., \"Scalable training of artificial neural networks with adaptive sparse connectivity\", 2018")]
public sealed class SparseEvolutionaryTraining : SparseTraining
{
    /// <inheritdoc/>
    protected override Func<int, float> Growth(PruningRun run, Parameter weight, long step) => position => Draw(run, weight, position, step);
}

/// <summary>RigL: grows where the dense gradient is largest.</summary>
[Method("rigl", "Sparse from the start; the smallest weights make room for those with the largest gradient.", "Evci et al., \"Rigging the Lottery\", ICML 2020, arXiv 1911.11134")]
public class RiggedLottery : SparseTraining
{
    /// <inheritdoc/>
    protected override Func<int, float> Growth(PruningRun run, Parameter weight, long step)
    {
        float[] gradient = DenseGradient(weight);
        return position => gradient[position];
    }

    /// <inheritdoc/>
    protected override void UpdateMasks(PruningRun run, long step, double fraction)
    {
        base.UpdateMasks(run, step, fraction);
        run.Accounting.CountDenseGradient(run.ImagesPerStep);
    }
}
