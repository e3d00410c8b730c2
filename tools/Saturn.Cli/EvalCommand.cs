using System.CommandLine;
using Saturn.Kernels;
using Saturn.Layers.Models;
using Saturn.Training;
using Saturn.Training.Checkpoints;
using Saturn.Training.Data;
using Saturn.Training.Runs;

namespace Saturn.Cli;

/// <summary><c>saturn eval</c>: accuracy of a run's checkpoint.</summary>
internal static class EvalCommand
{
    public static Command Create()
    {
        Command command = new("eval", "Evaluate the checkpoint of a run on its validation images, or on other data.");
        Argument<string> run = new("run") { Description = "The run's name or folder." };
        command.Arguments.Add(run);
        Option<string> runs = TrainCommand.Add(command, "--runs", "Folder of all runs.", "runs");
        Option<string?> data = TrainCommand.Add<string?>(command, "--data", "Other data than the run's: synthetic, mnist:FOLDER, cifar10:FOLDER or cifar100:FOLDER.", null);
        Option<string> deviceName = TrainCommand.Add(command, "--device", $"Where to run: {string.Join(", ", Devices.Names)}.", Devices.Default);
        Option<string> precision = TrainCommand.AddPrecision(command);
        command.SetAction(result =>
        {
            RunFolder folder = Open(result.GetValue(runs)!, result.GetValue(run)!);
            TrainingOptions options = folder.ReadOptions();
            Checkpoint checkpoint = Checkpoint.Read(folder.CheckpointPath);
            var (_, validation) = DatasetSource.Open(result.GetValue(data) ?? options.Data, options.TrainImages, options.ValidationImages);
            ModelRecipe recipe = checkpoint.State.Recipe;
            if ((validation.Height, validation.Width, validation.Channels) != (recipe.InputHeight, recipe.InputWidth, recipe.InputChannels) || validation.Classes != recipe.Classes)
            {
                throw new ArgumentException(
                    $"The checkpoint takes {recipe.InputHeight}×{recipe.InputWidth}×{recipe.InputChannels} images of {recipe.Classes} classes, but {validation.Name} has {validation.Height}×{validation.Width}×{validation.Channels} and {validation.Classes} classes.");
            }

            using Device device = Devices.Open(result.GetValue(deviceName)!, precision: TrainCommand.PrecisionOf(result, precision));
            using Model model = checkpoint.CreateModel(device);
            var (accuracy, loss) = Evaluator.Evaluate(model, validation, options.Batch);
            Console.WriteLine(ProgressDisplay.Invariant($"{validation.Name}: {validation.Count:N0} images, accuracy {accuracy:P2}, loss {loss:F4}"));
            return 0;
        });
        return command;
    }

    /// <summary>Opens a run by folder or by name.</summary>
    public static RunFolder Open(string runs, string run) => RunFolder.Open(Directory.Exists(run) ? run : Path.Combine(runs, run));
}
