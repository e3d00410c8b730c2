using System.Text.Json;
using Saturn.Engine;
using Saturn.Engine.Checkpoints;
using Saturn.Engine.Optimizers;
using Saturn.Kernels;
using Saturn.Layers;
using Saturn.Layers.Models;
using Saturn.Prune;
using Saturn.Prune.Methods;
using Saturn.Training.Runs;

namespace Saturn.Training.Checkpoints;

/// <summary>How a shortcut reads its source.</summary>
/// <param name="Sources">One source channel an output channel, or −1.</param>
/// <param name="SourceChannels">Channels of the source.</param>
public sealed record ShortcutState(int[] Sources, int SourceChannels);

/// <summary>What a run has counted so far.</summary>
public sealed record RunProgress
{
    /// <summary>Steps taken.</summary>
    public long Step { get; set; }

    /// <summary>Training seconds, census included, validation not.</summary>
    public double TrainingSeconds { get; set; }

    /// <summary>The best validation accuracy.</summary>
    public double BestAccuracy { get; set; }

    /// <summary>Sum of the losses of the current epoch's batches.</summary>
    public double EpochLoss { get; set; }

    /// <summary>Correct answers of the current epoch.</summary>
    public long EpochCorrect { get; set; }

    /// <summary>Batches of the current epoch.</summary>
    public long EpochBatches { get; set; }

    /// <summary>Training seconds at the start of the current epoch.</summary>
    public double EpochStartSeconds { get; set; }

    /// <summary>Median milliseconds of the first steps.</summary>
    public double FirstStepMilliseconds { get; set; }

    /// <summary>Forward operations an image of the network of those steps.</summary>
    public double FirstStepFlops { get; set; }

    /// <summary>Operations of training so far.</summary>
    public double TrainingFlops { get; set; }

    /// <summary>The same as dense kernels took them.</summary>
    public double StructuralTrainingFlops { get; set; }

    /// <summary>Operations of a dense run of the same steps.</summary>
    public double DenseTrainingFlops { get; set; }
}

/// <summary>Everything of a checkpoint but the arrays: <c>state.json</c>.</summary>
/// <param name="Format">The file format's number.</param>
/// <param name="Recipe">What the model is made from.</param>
/// <param name="Channels">Channels of each unit group.</param>
/// <param name="Shortcuts">Maps of identity shortcuts that are no identity any more.</param>
/// <param name="OriginalRows">Original indices of rows by parameter.</param>
/// <param name="OriginalColumns">Original indices of columns by parameter.</param>
/// <param name="OriginalChannels">Original indices of channels by group.</param>
/// <param name="Dense">The dense network's counts.</param>
/// <param name="Optimizer">The update rule's name.</param>
/// <param name="OptimizerSteps">Steps the optimizer has taken.</param>
/// <param name="Progress">What the run has counted.</param>
/// <param name="MethodNumbers">What the pruning method must know again.</param>
/// <param name="Liveness">What the groups remember of earlier steps' activity, where the noise goes by that: words of bits.</param>
public sealed record CheckpointState(
    int Format, ModelRecipe Recipe, Dictionary<string, int> Channels, Dictionary<string, ShortcutState> Shortcuts, Dictionary<string, int[]> OriginalRows,
    Dictionary<string, int[]> OriginalColumns, Dictionary<string, int[]> OriginalChannels, DenseNetwork Dense, string Optimizer, long OptimizerSteps, RunProgress Progress,
    Dictionary<string, double>? MethodNumbers = null, Dictionary<string, int[][]>? Liveness = null);

/// <summary>
/// A checkpoint folder: <c>model.safetensors</c>, <c>optimizer.safetensors</c>, <c>state.json</c> and their checksums. A pruned network is built from it at its pruned widths. Random numbers are
/// counter-based, so the step is all their state.
/// </summary>
/// <remarks>
/// A new checkpoint is written to <c>checkpoint.tmp</c>; then the old one steps aside to <c>checkpoint.old</c>, the new one takes its name, and the old one is deleted. Whenever a process dies, one of the three is
/// whole: the first of <c>checkpoint</c>, a finished <c>checkpoint.tmp</c>, <c>checkpoint.old</c>.
/// </remarks>
public sealed class Checkpoint
{
    private const int CurrentFormat = 1;
    private const string ModelFile = "model.safetensors";
    private const string OptimizerFile = "optimizer.safetensors";
    private const string StateFile = "state.json";
    private const string FirstMoment = ".first_moment";
    private const string SecondMoment = ".second_moment";
    private const string Mask = ".mask";
    private const string MethodArray = "method/";
    private const string MortalityArray = "mortality";

    private readonly string folder;

    private Checkpoint(string folder, CheckpointState state)
    {
        this.folder = folder;
        State = state;
    }

    /// <summary>Everything but the arrays.</summary>
    public CheckpointState State { get; }

    /// <summary>Whether a checkpoint was ever written there; it may be damaged.</summary>
    public static bool Exists(string folder) => Directory.Exists(Standing(folder));

    /// <summary>Reads a checkpoint's state and checks all of its files.</summary>
    /// <exception cref="CheckpointException">It is missing or damaged.</exception>
    public static Checkpoint Read(string folder)
    {
        folder = Standing(folder);
        if (!Directory.Exists(folder))
        {
            throw new CheckpointException($"There is no checkpoint '{folder}': the run was stopped before its first one.");
        }

        Checksums.Verify(folder, ModelFile, OptimizerFile, StateFile);
        string file = Path.Combine(folder, StateFile);
        try
        {
            CheckpointState state = JsonSerializer.Deserialize(File.ReadAllText(file), RunJson.Default.CheckpointState) ?? throw new JsonException("it is empty");
            return state.Format == CurrentFormat
                ? new Checkpoint(folder, state)
                : throw new CheckpointException($"{file} has format {state.Format}, but this version reads format {CurrentFormat}.");
        }
        catch (JsonException exception)
        {
            throw new CheckpointException($"{file} is damaged: {exception.Message}");
        }
    }

    /// <summary>Writes a checkpoint beside the old one and then puts it in its place, so that one whole checkpoint exists at any moment.</summary>
    /// <exception cref="CheckpointException">It cannot be written; the old one stands, and nothing of the new one is left.</exception>
    public static void Write(string folder, Model model, Optimizer optimizer, string optimizerName, PruningRun pruning, RunProgress progress, Mortality? mortality = null)
    {
        string temporary = folder + ".tmp";
        string old = folder + ".old";
        try
        {
            string standing = Standing(folder);
            if (standing != folder && Directory.Exists(standing))
            {
                Directory.Move(standing, folder);
            }

            DeleteIfThere(temporary);
            Directory.CreateDirectory(temporary);
            ModelWeights.Save(model, Path.Combine(temporary, ModelFile));
            Dictionary<string, SafeTensor> moments = [];
            foreach (Parameter parameter in optimizer.Parameters)
            {
                IReadOnlyList<Tensor> state = optimizer.MomentsOf(parameter);
                for (int i = 0; i < state.Count; i++)
                {
                    moments[parameter.Name + (i == 0 ? FirstMoment : SecondMoment)] = ModelWeights.Export(parameter, state[i]);
                }
            }

            foreach (Parameter parameter in pruning.Masks?.Weights ?? [])
            {
                moments[parameter.Name + Mask] = ModelWeights.Export(parameter, pruning.Masks![parameter]);
            }

            MethodState method = new();
            pruning.Method.Save(method);
            foreach (var (name, values) in method.Arrays)
            {
                moments[MethodArray + name] = new SafeTensor([values.Length], values);
            }

            if (mortality?.Save() is { Length: > 0 } deaths)
            {
                moments[MortalityArray] = new SafeTensor([deaths.Length], deaths);
            }

            SafeTensors.Write(Path.Combine(temporary, OptimizerFile), moments);
            CheckpointState checkpoint = new(
                CurrentFormat, model.Recipe,
                model.Activities.ToDictionary(activity => activity.Name, activity => activity.Channels),
                model.Shortcuts.Where(entry => entry.Shortcut.Map is not null)
                    .ToDictionary(entry => entry.Name, entry => new ShortcutState(entry.Shortcut.Map!.Sources.ToArray(), entry.Shortcut.Map.Outputs.Length)),
                model.Parameters.Where(parameter => parameter.OriginalRows is not null).ToDictionary(parameter => parameter.Name, parameter => parameter.OriginalRows!.Values.ToArray()),
                model.Parameters.Where(parameter => parameter.OriginalColumns is not null)
                    .ToDictionary(parameter => parameter.Name, parameter => parameter.OriginalColumns!.Values.ToArray()),
                model.Activities.Where(activity => activity.OriginalChannels is not null).ToDictionary(activity => activity.Name, activity => activity.OriginalChannels!),
                pruning.Accounting.Dense, optimizerName, optimizer.StepCount, progress, method.Numbers,
                model.Activities.Select(activity => (activity.Name, Steps: activity.ReadLiveness())).Where(entry => entry.Steps.Count > 0)
                    .ToDictionary(entry => entry.Name, entry => entry.Steps.ToArray()));
            AtomicFile.WriteText(Path.Combine(temporary, StateFile), JsonSerializer.Serialize(checkpoint, RunJson.Default.CheckpointState));
            Checksums.Write(temporary, ModelFile, OptimizerFile, StateFile);
            DeleteIfThere(old);
            if (Directory.Exists(folder))
            {
                Directory.Move(folder, old);
            }

            Directory.Move(temporary, folder);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or ArgumentOutOfRangeException)
        {
            // The system's limit on the size of a file arrives as an ArgumentOutOfRangeException.
            DeleteIfThere(temporary);
            throw new CheckpointException(
                $"The checkpoint of step {progress.Step} cannot be written to '{folder}' ({exception.Message.Split(" (Parameter")[0].TrimEnd('.')}). Make room there and go on with --resume, which starts from {(Exists(folder) ? "the checkpoint before it" : "the beginning, as there is none before it")}.");
        }

        DeleteIfThere(old);
    }

    /// <summary>Builds the network at its widths and loads its weights.</summary>
    public Model CreateModel(Device device)
    {
        Model model = ModelFactory.Create(State.Recipe, device, new ChannelPlan(State.Channels));
        try
        {
            foreach (var (name, shortcut) in model.Shortcuts)
            {
                if (State.Shortcuts.TryGetValue(name, out ShortcutState? map))
                {
                    shortcut.SetMap(new ShortcutMap(map.Sources, map.SourceChannels));
                }
            }

            ModelWeights.Load(model, Path.Combine(folder, ModelFile));
            foreach (Parameter parameter in model.Parameters)
            {
                parameter.OriginalRows = State.OriginalRows.TryGetValue(parameter.Name, out int[]? rows) ? new ChannelIndices(rows) : null;
                parameter.OriginalColumns = State.OriginalColumns.TryGetValue(parameter.Name, out int[]? columns) ? new ChannelIndices(columns) : null;
            }

            foreach (ChannelActivity activity in model.Activities)
            {
                activity.OriginalChannels = State.OriginalChannels.GetValueOrDefault(activity.Name);
            }

            return model;
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }

    /// <summary>Loads the weights into a network of the same shapes.</summary>
    /// <exception cref="CheckpointException">The shapes differ, as those of a pruned network do from a dense one's.</exception>
    public void LoadWeights(Model model) => ModelWeights.Load(model, Path.Combine(folder, ModelFile));

    /// <summary>Loads the optimizer's moments and step count.</summary>
    /// <exception cref="CheckpointException">The checkpoint was written by another update rule.</exception>
    public void Restore(Optimizer optimizer, string optimizerName)
    {
        if (optimizerName != State.Optimizer)
        {
            throw new CheckpointException($"The checkpoint '{folder}' was written with optimizer {State.Optimizer}, but {optimizerName} is asked for.");
        }

        string path = Path.Combine(folder, OptimizerFile);
        Dictionary<string, SafeTensor> tensors = SafeTensors.Read(path);
        foreach (Parameter parameter in optimizer.Parameters)
        {
            string[] names = [.. new[] { FirstMoment, SecondMoment }.Select(suffix => parameter.Name + suffix).Where(tensors.ContainsKey)];
            if (names.Length == 0)
            {
                continue;
            }

            Tensor[] moments = new Tensor[names.Length];
            for (int i = 0; i < names.Length; i++)
            {
                Tensor moment = moments[i] = Tensor.AllocateUnscoped(parameter.Value.Device, parameter.Shape);
                string name = names[i];
                ModelWeights.Load([parameter], _ => name, _ => moment, tensors, path);
            }

            optimizer.ReplaceMoments(parameter, moments);
        }

        optimizer.StepCount = State.OptimizerSteps;
    }

    /// <summary>What the pruning method saved.</summary>
    public MethodState ReadMethodState() => new()
    {
        Numbers = State.MethodNumbers ?? [],
        Arrays = SafeTensors.Read(Path.Combine(folder, OptimizerFile))
            .Where(pair => pair.Key.StartsWith(MethodArray, StringComparison.Ordinal))
            .ToDictionary(pair => pair.Key[MethodArray.Length..], pair => pair.Value.Values),
    };

    /// <summary>Gives the groups back what they remembered, after the method has set what they are to remember.</summary>
    public void RestoreLiveness(Model model)
    {
        foreach (ChannelActivity activity in model.Activities)
        {
            if (State.Liveness?.GetValueOrDefault(activity.Name) is { } steps)
            {
                activity.RestoreLiveness(steps);
            }
        }
    }

    /// <summary>Who was dead, if that was counted.</summary>
    public float[]? ReadMortality() => SafeTensors.Read(Path.Combine(folder, OptimizerFile)).GetValueOrDefault(MortalityArray)?.Values;

    /// <summary>Loads the masks on single weights, if there were any.</summary>
    public void RestoreMasks(PruningRun pruning)
    {
        string path = Path.Combine(folder, OptimizerFile);
        Dictionary<string, SafeTensor> tensors = SafeTensors.Read(path);
        if (!tensors.Keys.Any(name => name.EndsWith(Mask, StringComparison.Ordinal)))
        {
            return;
        }

        WeightMasks masks = pruning.UseMasks();
        foreach (Parameter parameter in masks.Weights.ToArray())
        {
            using Tensor mask = Tensor.AllocateUnscoped(parameter.Value.Device, parameter.Shape);
            ModelWeights.Load([parameter], _ => parameter.Name + Mask, _ => mask, tensors, path);
            masks.Set(parameter, [.. mask.ToArray().Select(value => value != 0)], null);
        }

        pruning.CountWeights();
    }

    /// <summary>The folder that holds the last whole checkpoint, whenever the process that wrote it may have died.</summary>
    private static string Standing(string folder) =>
        Directory.Exists(folder) ? folder : Checksums.ExistIn(folder + ".tmp") ? folder + ".tmp" : Directory.Exists(folder + ".old") ? folder + ".old" : folder;

    private static void DeleteIfThere(string folder)
    {
        if (Directory.Exists(folder))
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
