using NUnit.Framework;
using Saturn.Engine;
using Saturn.Engine.Checkpoints;
using Saturn.Engine.Operations;
using Saturn.Engine.Optimizers;
using Saturn.Kernels;
using Saturn.Layers;
using Saturn.Layers.Models;
using Saturn.Tests.Engine;

namespace Saturn.Tests.Layers;

/// <summary>
/// Networks that PyTorch has run, weights file included: tools/peers/export_golden.py writes the files of the folder Golden.
/// </summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.Names))]
public sealed class GoldenTests(string device) : EngineTest(device)
{
    private static readonly object[] Networks =
    [
        new object[] { new ModelRecipe("resnet18", 2, 10, 16, 16, 3), 4 },
        new object[] { new ModelRecipe("resnet50", 1, 5, 72, 72, 3), 8 },
        new object[] { new ModelRecipe("vgg16", 1, 7, 64, 64, 3), 4 },
    ];

    [TestCaseSource(nameof(Networks))]
    public void Computes_and_trains_as_in_PyTorch(ModelRecipe recipe, int batch)
    {
        string folder = Path.Combine(TestContext.CurrentContext.TestDirectory, "Layers", "Golden");
        Dictionary<string, SafeTensor> expected = SafeTensors.Read(Path.Combine(folder, recipe.Name + ".expected.safetensors"));
        using Model model = ModelFactory.Create(recipe, Device);
        ModelWeights.Load(model, Path.Combine(folder, recipe.Name + ".safetensors"));
        int[] labels = [.. Enumerable.Range(0, batch).Select(n => 3 * n % recipe.Classes)];
        float[] images = Images(recipe.InputShape(batch));

        AssertClose(Logits(model, images, batch), expected["logits"].Values, 1e-5, "logits");
        float[] losses = Train(model, images, labels);
        AssertClose(losses, expected["losses"].Values, 3e-4, "losses");
        if (recipe.Name != "resnet50")
        {
            // Fifty layers of width 1 amplify a rounding difference of one sum to percents of these logits within five steps; its training is bound below, at a greater width.
            AssertClose(Logits(model, images, batch), expected["trained_logits"].Values, 1e-3, "logits after training");
        }
    }

    /// <summary>
    /// Fifty layers wide enough to be well conditioned: every parameter's change over the training steps agrees, relative to the parameter's largest change. The weights follow from the script's formula.
    /// </summary>
    [Test]
    public void Fifty_layers_train_as_in_PyTorch_weight_by_weight()
    {
        const int Batch = 8;
        const string Name = "resnet50-silu";
        ModelRecipe recipe = new("resnet50", 8, 5, 72, 72, 3, "silu");
        Dictionary<string, SafeTensor> expected = SafeTensors.Read(Path.Combine(TestContext.CurrentContext.TestDirectory, "Layers", "Golden", Name + ".expected.safetensors"));
        using Model model = ModelFactory.Create(recipe, Device);
        model.Initialize(0);
        Dictionary<string, SafeTensor> before = model.Parameters.ToDictionary(parameter => parameter.Name, parameter => ClosedForm(parameter.Name, ModelWeights.Export(parameter, parameter.Value).Shape));
        ModelWeights.Load(model.Parameters, parameter => parameter.Name, parameter => parameter.Value, before, Name);
        int[] labels = [.. Enumerable.Range(0, Batch).Select(n => 3 * n % recipe.Classes)];
        float[] images = Images(recipe.InputShape(Batch));

        AssertClose(Logits(model, images, Batch), expected["logits"].Values, 1e-5, "logits");
        AssertClose(Train(model, images, labels, 0.05), expected["losses"].Values, 1e-4, "losses");
        AssertClose(Logits(model, images, Batch), expected["trained_logits"].Values, 1e-3, "logits after training");
        double worst = 0;
        foreach (Parameter parameter in model.Parameters)
        {
            float[] after = ModelWeights.Export(parameter, parameter.Value).Values;
            float[] theirs = expected[parameter.Name + ".change"].Values;
            int stride = Math.Max(1, after.Length / 64);
            double largest = theirs.Max(Math.Abs);
            Assert.That(largest, Is.GreaterThan(1e-6), $"{parameter.Name} has not been trained");
            for (int i = 0; i < theirs.Length; i++)
            {
                double error = Math.Abs(after[i * stride] - before[parameter.Name].Values[i * stride] - theirs[i]) / largest;
                worst = Math.Max(worst, error);
                Assert.That(error, Is.LessThan(1e-3), $"the change of {parameter.Name}[{i * stride}] against PyTorch's {theirs[i]}, relative to the largest change {largest}");
            }
        }

        TestContext.Out.WriteLine($"changes: largest difference {worst:g3} of a parameter's largest change");
        Assert.That(expected, Has.Count.EqualTo(3 + model.Parameters.Count()), "nothing of the file is left over");
    }

    /// <summary>The script's closed_form: a hash of the tensor's name and the element's index, mapped to a range that follows from name and shape.</summary>
    private static SafeTensor ClosedForm(string name, int[] shape)
    {
        uint key = 2166136261;
        foreach (char letter in name)
        {
            key = (key ^ letter) * 16777619;
        }

        int count = shape.Aggregate(1, (product, extent) => product * extent);
        double reach = Math.Sqrt((shape.Length == 4 ? 6.0 : 1.0) / (count / shape[0]));
        var (low, high) = name[(name.LastIndexOf('.') + 1)..] switch
        {
            _ when shape.Length > 1 => (-reach, reach),
            "weight" when name.Contains("bn3") => (0.2, 0.5),
            "weight" or "running_var" => (0.5, 1.5),
            "bias" => (-0.5, 0.5),
            _ => (-0.2, 0.2),
        };
        float[] values = new float[count];
        for (uint i = 0; i < values.Length; i++)
        {
            uint h = i * 0x9E3779B1 + key;
            h = (h ^ (h >> 16)) * 0x45D9F3B;
            h = (h ^ (h >> 15)) * 0x119DE1F3;
            h ^= h >> 16;
            values[i] = (float)(low + (high - low) * (h / 4294967296.0));
        }

        return new SafeTensor(shape, values);
    }

    private static float[] Train(Model model, float[] images, int[] labels, double rate = 0.002)
    {
        using Sgd optimizer = new([new ParameterGroup(model.Parameters.Where(parameter => parameter.IsTrained), rate, 5e-4)], 0.9);
        model.SetTraining(true);
        float[] losses = new float[5];
        for (int step = 0; step < losses.Length; step++)
        {
            using TensorScope scope = new();
            model.BeginStep(step);
            Tensor loss = Operation.SoftmaxCrossEntropy(
                model.Forward(Tensor.FromValues(model.Device, model.Recipe.InputShape(labels.Length), images)), Tensor.FromValues(model.Device, labels));
            losses[step] = loss.ToScalar();
            optimizer.ClearGradients();
            loss.Backward();
            optimizer.Step();
        }

        return losses;
    }

    private static float[] Logits(Model model, float[] images, int batch)
    {
        model.SetTraining(false);
        using InferenceScope inference = new();
        using TensorScope scope = new();
        return model.Forward(Tensor.FromValues(model.Device, model.Recipe.InputShape(batch), images)).ToArray();
    }

    /// <summary>NHWC images by the script's formula over the NCHW index.</summary>
    private static float[] Images(Shape shape)
    {
        float[] values = new float[shape.ElementCount];
        int next = 0;
        for (int n = 0; n < shape[0]; n++)
        {
            for (int h = 0; h < shape[1]; h++)
            {
                for (int w = 0; w < shape[2]; w++)
                {
                    for (int c = 0; c < shape[3]; c++)
                    {
                        values[next++] = (float)Math.Sin((0.1 + 0.05 * n) * (((n * shape[3] + c) * shape[1] + h) * shape[2] + w));
                    }
                }
            }
        }

        return values;
    }

    private static void AssertClose(float[] actual, float[] expected, double tolerance, string what)
    {
        Assert.That(actual, Has.Length.EqualTo(expected.Length), what);
        double largest = actual.Zip(expected, (a, e) => Math.Abs(a - e)).Max();
        TestContext.Out.WriteLine($"{what}: largest difference {largest:g3}");
        Assert.That(largest, Is.LessThan(tolerance), $"{what} against PyTorch's; ours {string.Join(", ", actual.Take(5))}, theirs {string.Join(", ", expected.Take(5))}");
    }
}
